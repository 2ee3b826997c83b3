// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// A message that a task reads while it still arrives: both sides of its pieces.
@Suite(.deadline)
struct IncomingStreamTests {
    private let outbox = Outbox()
    private let status = LinkStatus(
        name: "l",
        key: LinkKey(session: SlotKey(bitPattern: 1), link: SlotKey(bitPattern: 2))
    )

    private func makeStream() -> IncomingStream { IncomingStream(of: self.status, sequence: 7, outbox: self.outbox) }

    /// The data section of a body of three bytes.
    private static let section: [UInt8] = [0x00, 0x53, 0x75, 0xA0, 3, 0x61, 0x62, 0x63]

    /// Returns the stream's reports: the numbers of the pieces, or "discard".
    private func reports() -> [String] {
        var mail = Outbox.Mail()
        self.outbox.take(&mail, releasing: [], at: 0)
        return mail.commands.map { command in
            switch command {
            case .receiver(let status, .read(let pieces, of: 7)) where status === self.status: "\(pieces)"
            case .receiver(let status, .discard(7)) where status === self.status: "discard"
            default: "unexpected: \(command)"
            }
        }
    }

    @Test func eachPieceIsReportedWhenATaskReadsIt() async throws {
        let stream = self.makeStream()
        stream.push(ByteBuffer(bytes: Self.section[..<5]))
        stream.push(ByteBuffer(bytes: Self.section[5..<7]))
        #expect(self.reports() == [])
        #expect(try await stream.next() == ByteBuffer(bytes: [0x61, 0x62]))
        #expect(self.reports() == ["1", "1"])
        let waiting = begin { try await stream.next() }
        #expect(!waiting.isDone)
        stream.push(ByteBuffer(bytes: Self.section[7...]))
        #expect(try await waiting.value == ByteBuffer(bytes: [0x63]))
        stream.finish(nil)
        #expect(try await stream.next() == nil)
        #expect(self.reports() == ["1"])
    }

    @Test func anErrorFollowsTheBufferedPieces() async throws {
        let stream = self.makeStream()
        stream.push(ByteBuffer(bytes: Self.section))
        stream.finish(AMQPError(scope: .link, condition: .closed, detail: "ended"))
        #expect(try await stream.next() == ByteBuffer(bytes: [0x61, 0x62, 0x63]))
        await expectError(.closed) { try await stream.next() }
    }

    @Test func anEndWithinASectionIsAnError() async throws {
        let stream = self.makeStream()
        stream.push(ByteBuffer(bytes: Self.section[..<7]))
        stream.finish(nil)
        #expect(try await stream.next() == ByteBuffer(bytes: [0x61, 0x62]))
        await expectError(.decodeError) { try await stream.next() }
    }

    @Test func droppedPiecesAreNotRead() async throws {
        let stream = self.makeStream()
        stream.push(ByteBuffer(bytes: Self.section))
        stream.drop()
        stream.finish(AMQPError(condition: .closed))
        await expectError(.closed) { try await stream.next() }
        #expect(self.reports() == [])
    }

    @Test func aReleasedStreamReportsADiscard() {
        var stream: IncomingStream? = self.makeStream()
        stream?.push(ByteBuffer(bytes: Self.section))
        stream = nil
        #expect(self.reports() == ["discard"])
    }

    // MARK: The loop's side

    @Test func theLoopCountsReceivedAndUntakenBytes() {
        let stream = self.makeStream()
        let arriving = ArrivingStream(stream, sequence: 7, slot: nil, count: 100, weight: 40)
        for size in [5, 0, 7, 9] { arriving.push(ByteBuffer(repeating: 0, count: size)) }
        #expect(arriving.count == 121 && arriving.heldBytes == 21)
        // An empty piece does not count.
        #expect(arriving.taken(2) == 12 && arriving.heldBytes == 9)
        #expect(arriving.taken(5) == 9 && arriving.heldBytes == 0 && arriving.taken(1) == 0)
        #expect(arriving.count == 121 && arriving.isArriving)
        arriving.finish(nil)
        #expect(!arriving.isArriving)
    }

    @Test func bytesAfterADiscardAreCountedButNotHeld() async throws {
        let stream = self.makeStream()
        let arriving = ArrivingStream(stream, sequence: 7, slot: SlotKey(bitPattern: 3), count: 0, weight: 0)
        arriving.push(ByteBuffer(bytes: Self.section))
        #expect(arriving.discard() == 8)
        #expect(arriving.isDiscarding && arriving.heldBytes == 0 && arriving.discard() == 0)
        arriving.push(ByteBuffer(bytes: Self.section))
        #expect(arriving.count == 16 && arriving.heldBytes == 0 && arriving.taken(1) == 0)
        arriving.finish(AMQPError(condition: .closed))
        await expectError(.closed) { try await stream.next() }
    }

    @Test func theLoopDoesNotKeepTheStream() {
        var stream: IncomingStream? = self.makeStream()
        let arriving = stream.map { ArrivingStream($0, sequence: 7, slot: nil, count: 0, weight: 0) }
        stream = nil
        #expect(self.reports() == ["discard"])
        arriving?.push(ByteBuffer(bytes: [1, 2]))
        #expect(arriving?.heldBytes == 2 && arriving?.discard() == 2)
    }
}
