// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The trace contains every frame of the wire.
@Suite(.deadline)
struct FrameTraceTests {
    /// Returns the traced lines of a dialogue, and the frames on the wire.
    private func trace(
        _ script: PeerScript = PeerScript(),
        _ configure: (inout AMQPConnection.Configuration) -> Void = { _ in },
        _ body: (AMQPConnection, InMemoryPeer) async throws -> Void
    ) async throws -> (lines: [String], sent: [Frame], received: [Frame]) {
        let log = LogLines()
        var configuration = AMQPConnection.Configuration()
        configuration.tracesFrames = true
        configure(&configuration)
        let peer = try await InMemoryPeer(configuration: configuration, script: script, logger: log.logger)
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        let connection = AMQPConnection(parts, try await parts.opened.value(), configuration)
        do { try await body(connection, peer) } catch { Issue.record(error) }
        await peer.settle()
        let sent = try await peer.framesOfLibrary()
        let received = Frame.parse(try await peer.run { $0.toLibrary.record })
        await peer.finish()
        let lines = log.text.split(separator: "\n").filter { $0.hasPrefix("frame ") }.map { String($0) }
        return (lines, sent, received)
    }

    private func title(_ frame: Frame) -> String { frame.code.map { "@\($0)(\($0.rawValue))" } ?? "(empty frame)" }

    /// Each frame has one line, in order, with the windows that the peer sees.
    @Test func everyFrameIsTraced() async throws {
        let (lines, sent, received) = try await self.trace { connection, peer in
            // The library soon renews a window of few frames, with frames of its own.
            let session = try await connection.openSession(.init(incomingCapacity: .kibibytes(256)))
            let receiver = try await session.openReceiver(from: "q", window: .messages(50))
            try await peer.run { peer in
                for _ in 0..<20 { peer.send(payload(50_000), on: peer.links[0]) }
            }
            for _ in 0..<20 { try await receiver.next()?.accept() }
            try await connection.close().check()
        }
        let outgoing = lines.filter { $0.contains(" -> @") || $0.contains(" -> (") }
        let incoming = lines.filter { $0.contains(" <- @") || $0.contains(" <- (") }
        #expect(outgoing.count == sent.count && incoming.count == received.count)
        for (line, frame) in zip(outgoing, sent) { #expect(line.contains("\(frame.channel) -> \(self.title(frame))")) }
        for (line, frame) in zip(incoming, received) {
            #expect(line.contains("\(frame.channel) <- \(self.title(frame))"))
        }
        for (line, frame) in zip(outgoing, sent) where frame.code == .flow {
            #expect(line.contains("incoming-window=\(frame.field(1)), "), "\(line)")
        }
        #expect(sent.count { $0.code == .flow } > 3)
        #expect(lines.contains { $0.contains("<- AMQP") } && lines.contains { $0.contains("-> AMQP") })
        let transfer = try #require(incoming.first { $0.contains("@transfer") })
        #expect(transfer.contains("handle=0, delivery-id=0") && transfer.contains("(50000 bytes)"))
        #expect(!lines.contains { $0.contains("AAAA") })
    }

    @Test func heartbeatsAndTheLibrarysOwnCloseAreTraced() async throws {
        var script = PeerScript()
        script.idleTimeout = 1_000
        let (lines, sent, _) = try await self.trace(script, { $0.idleTimeout = .seconds(4) }) { _, peer in
            await peer.advance(by: .seconds(2))
            try await peer.run { $0.inject(ByteBuffer(bytes: [0, 0, 0, 8, 2, 0, 0, 0])) }
            // These bytes are refused before Proton reads them.
            try await peer.run { $0.inject(ByteBuffer(bytes: [0, 0, 0, 4])) }
            try await peer.run { $0.inject(ByteBuffer(bytes: [0, 0, 0, 4])) }
        }
        #expect(lines.contains { $0.contains("0 -> (empty frame)") })
        #expect(lines.contains { $0.contains("0 <- (empty frame)") })
        #expect(sent.contains { $0.code == .close })
        #expect(
            lines.contains {
                $0.contains("0 -> @close(24) [error=@error(29) [condition=:amqp:connection:framing-error")
            },
            "\(lines.suffix(3))"
        )
    }

    @Test func textsAreBoundedAndOnOneLine() throws {
        func text(_ frame: Frame, head: Int = FrameScanner.headLength) throws -> String {
            try frame.encoded().withUnsafeReadableBytes { bytes in
                FrameText.text(UnsafeRawBufferPointer(rebasing: bytes.prefix(head)), direction: "->")
            }
        }
        let attach = Frame.attach("a\nb\u{1B}[0m", handle: 1, isReceiver: true, channel: 7)
        #expect(
            try text(attach) == #"7 -> @attach(18) [name="a\u{a}b\u{1b}[0m", handle=1, role=true, "#
                + #"source=@source(40) [address="from"], target=@target(41) [address="to"]]"#
        )
        let long = Frame(
            .open,
            [.string(String(repeating: "x", count: 900)), .string(String(repeating: "y", count: 900))]
        )
        let shown = try text(long)
        #expect(shown.count <= FrameText.limit + 20 && shown.hasSuffix("…]"), "\(shown)")
        let accepted = Frame.disposition(3, 9)
        #expect(
            try text(accepted)
                == "0 -> @disposition(21) [role=true, first=3, last=9, settled=true, state=@accepted(36) []]"
        )
        #expect(try text(Frame(.end, [])) == "0 -> @end(23) []")
        // The trace has a line for any other bytes too.
        for bytes: [UInt8] in [[0, 0, 0, 9, 2, 1, 0, 0, 7], [0, 0, 0, 9, 2, 0, 0, 0, 7], [0, 0, 0, 8, 9, 0, 0, 1]] {
            #expect(!bytes.withUnsafeBytes { FrameText.text($0, direction: "<-") }.isEmpty)
        }
    }
}
