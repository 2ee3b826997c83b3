// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Messages that a task reads while they arrive.
@Suite(.deadline(minutes: 5))
struct ReceiverStreamTests {
    private func configuration(
        window: AMQPReceiver.Window = .messages(16),
        buffer: AMQPByteCount = .kibibytes(64)
    ) -> AMQPReceiver.Configuration {
        var configuration = AMQPReceiver.Configuration(source: "q", window: window)
        configuration.streamsMessages = true
        configuration.streamBuffer = buffer
        configuration.maxMessageSize = nil
        return configuration
    }

    /// Returns a message with data sections of these sizes.
    private func message(_ sections: [Int]) throws -> ByteBuffer {
        var message = AMQPMessage(body: .data(sections.map { payload($0) }))
        message.properties.subject = "s"
        return try message.encoded()
    }

    @Test func aMessageIsReadWhileItArrives() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration())
            var rest = try self.message([30_000, 0, 200, 70_000])
            let first = rest.readSlice(length: 10_000) ?? ByteBuffer()
            try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
            let delivery = try #require(try await receiver.next())
            #expect(delivery.isStreamed)
            #expect(try delivery.decodeMessage().properties.subject == "s")
            #expect(try delivery.decodeMessage().body == .empty)
            var body = delivery.body.makeAsyncIterator()
            var count = try await body.next(isolation: nil)?.readableBytes ?? 0
            #expect(count > 0)
            let last = rest
            let reading = begin { try await delivery.body.collect(upTo: .mebibytes(1)).readableBytes }
            try await peer.run { _ = $0.send(last, on: $0.links[0]) }
            count += try await reading.value
            #expect(count == 100_200)
            delivery.accept()
            await peer.settle()
            #expect(receiver.bufferedBytes == 0)
            #expect(receiver.bufferedBytesPeak <= 65_536 + 1_000)
        }
    }

    /// A message whose buffer is full waits for its reader, not for tasks that wait for the next message.
    @Test func aFullBufferWaitsWhileTheNextIsAwaited() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(
                self.configuration(window: .automatic, buffer: .kibibytes(4))
            )
            let bytes = try self.message([50_000])
            let first = try #require(bytes.getSlice(at: 0, length: 1_000))
            let rest = try #require(bytes.getSlice(at: 1_000, length: bytes.readableBytes - 1_000))
            try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
            let delivery = try #require(try await receiver.next())
            let next = begin { try await receiver.next() }
            await peer.settle()
            try await peer.run { peer in
                peer.send(rest, on: peer.links[0])
                peer.send(try self.message([5]), on: peer.links[0])
            }
            #expect(!next.isDone)
            #expect(receiver.bufferedBytes <= 4_096)
            let body = try await begin { try await delivery.body.collect(upTo: .mebibytes(1)).readableBytes }.value
            #expect(body == 50_000)
            #expect(try await next.value != nil)
        }
    }

    @Test func aWholeMessageHasTheSameBody() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration())
            let bytes = try self.message([10, 20, 30])
            try await peer.run { _ = $0.send(bytes, on: $0.links[0]) }
            let delivery = try #require(try await receiver.next())
            #expect(!delivery.isStreamed)
            var pieces: [Int] = []
            for try await piece in delivery.body { pieces.append(piece.readableBytes) }
            #expect(pieces == [10, 20, 30])
            delivery.accept()
        }
    }

    @Test(arguments: [AMQPReceiver.Window.messages(4), .bytes(.kibibytes(64)), .onDemand])
    func aSlowReaderHoldsTheSenderBack(window: AMQPReceiver.Window) async throws {
        var settings = AMQPSession.Configuration(incomingCapacity: .kibibytes(128))
        settings.sendLimit = .init(high: .mebibytes(1))
        try await withSession(session: settings) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(window: window))
            let bytes = try self.message(Array(repeating: 50_000, count: 40))
            let taking = begin { try await receiver.next() }
            await peer.settle()
            try await peer.run { _ = $0.send(bytes, on: $0.links[0]) }
            let delivery = try #require(try await taking.value)
            await peer.settle()
            // The unread bytes are still with the peer.
            #expect(receiver.bufferedBytes.bytes <= 65_536 + 1_000)
            let passed = try await peer.run { Int(pn_session_outgoing_bytes($0.sessions[0])) }
            #expect(passed > bytes.readableBytes - 64 * 1_024 - 3 * 65_536)
            var count = 0
            for try await piece in delivery.body {
                count += piece.readableBytes
                #expect(receiver.bufferedBytes.bytes <= 65_536 + 1_000)
            }
            #expect(count == 2_000_000)
            delivery.accept()
            await peer.settle()
            #expect(try await peer.run { pn_link_unsettled($0.links[0]) } == 0)
        }
    }

    @Test func aThousandEarlyRejectsLeakNothing() async throws {
        let settings = AMQPSession.Configuration(incomingCapacity: .kibibytes(128))
        try await withSession(session: settings, { PeerScript.keepingOutcomes }) { session, peer in
            try await peer.run {
                $0.toPeer.isRecorded = false; $0.toLibrary.isRecorded = false
            }
            let receiver = try await session.openReceiver(self.configuration())
            let bytes = try self.message([300_000])
            for _ in 0..<1_000 {
                try await peer.run { _ = $0.send(bytes, on: $0.links[0]) }
                let delivery = try #require(try await receiver.next())
                #expect(delivery.isStreamed)
                delivery.reject()
                await peer.settle()
            }
            let outcomes = try await peer.run { $0.outcomes }
            #expect(outcomes == Array(repeating: UInt64(PN_REJECTED), count: 1_000))
            #expect(receiver.bufferedBytes == 0)
            let last = try self.message([5])
            try await peer.run { _ = $0.send(last, on: $0.links[0]) }
            #expect(try await receiver.next()?.body.collect(upTo: 10).readableBytes == 5)
        }
    }

    @Test func aRejectReachesTheSenderInTheMiddle() async throws {
        try await withSession({ PeerScript.keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(self.configuration())
            var rest = try self.message([300_000])
            let first = rest.readSlice(length: 10_000) ?? ByteBuffer()
            try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
            let delivery = try #require(try await receiver.next())
            delivery.reject(AMQPError(scope: .delivery, condition: .notAllowed, detail: "no"))
            await peer.settle()
            #expect(try await peer.run { $0.outcomes } == [UInt64(PN_REJECTED)])
            await #expect(throws: Never.self) { try await session.openSender(to: "alive").close() }
        }
    }

    /// If a task waits behind a partly received message, the receiver grants credit once that message is complete.
    @Test func anOnDemandWindowGrantsAgainAfterAStream() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(window: .onDemand))
            let first = begin { try await receiver.next() }
            await peer.settle()
            var rest = try self.message([30_000])
            let beginning = rest.readSlice(length: 10_000) ?? ByteBuffer()
            try await peer.run { _ = $0.send(beginning, on: $0.links[0], isLast: false) }
            let delivery = try #require(try await first.value)
            let second = begin { try await receiver.next()?.body.collect(upTo: 10).readableBytes }
            await peer.settle()
            let end = rest
            try await peer.run { _ = $0.send(end, on: $0.links[0]) }
            await peer.settle()
            #expect(receiver.credit == 1)
            let next = try self.message([7])
            try await peer.run { _ = $0.send(next, on: $0.links[0]) }
            #expect(try await second.value == 7)
            delivery.accept()
        }
    }

    @Test func anAbortIsSeen() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration())
            let first = try self.message([100_000]).getSlice(at: 0, length: 20_000) ?? ByteBuffer()
            for _ in 0..<50 {
                try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
                let delivery = try #require(try await receiver.next())
                let reading = begin { try await delivery.body.collect(upTo: .mebibytes(1)) }
                await peer.settle()
                try await peer.run { peer in
                    peer.isBetweenMessages = true
                    if let current = pn_link_current(peer.links[0]) { pn_delivery_abort(current) }
                }
                await expectError(.aborted) { try await reading.value }
                delivery.accept()
            }
            await peer.settle()
            #expect(receiver.bufferedBytes == 0)
            let last = try self.message([5])
            try await peer.run { _ = $0.send(last, on: $0.links[0]) }
            #expect(try await receiver.next()?.body.collect(upTo: 10).readableBytes == 5)
        }
    }

    @Test func aReleasedDeliveryBlocksNoOther() async throws {
        let settings = AMQPSession.Configuration(incomingCapacity: .kibibytes(128))
        try await withSession(session: settings) { session, peer in
            let receiver = try await session.openReceiver(self.configuration())
            let large = try self.message([1_000_000])
            let small = try self.message([7])
            try await peer.run { peer in
                _ = peer.send(large, on: peer.links[0])
                _ = peer.send(small, on: peer.links[0])
            }
            do { #expect(try await receiver.next()?.isStreamed == true) }
            #expect(try await receiver.next()?.body.collect(upTo: 10).readableBytes == 7)
        }
    }

    @Test func theEndOfTheLinkEndsTheBody() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration())
            let first = try self.message([100_000]).getSlice(at: 0, length: 20_000) ?? ByteBuffer()
            try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
            let delivery = try #require(try await receiver.next())
            let reading = begin { try await delivery.body.collect(upTo: .mebibytes(1)) }
            try await receiver.close().check()
            await expectError(.closed) { try await reading.value }
        }
    }

    /// The sections before the body count in the window until the message frees its place.
    @Test func streamedMessagesHoldTheirPlaces() async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(4))
        var connection = AMQPConnection.Configuration()
        connection.receiveBudget = budget
        try await withSession(configuration: connection) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(window: .bytes(.kibibytes(64))))
            var message = AMQPMessage(body: payload(1))
            message.applicationProperties["p"] = .string(String(repeating: "x", count: 20_000))
            let bytes = try message.encoded()
            let first = bytes.getSlice(at: 0, length: bytes.readableBytes - 1) ?? ByteBuffer()
            let last = bytes.getSlice(at: bytes.readableBytes - 1, length: 1) ?? ByteBuffer()
            for _ in 0..<10 {
                try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
                try await peer.run { _ = $0.send(last, on: $0.links[0]) }
            }
            await peer.settle()
            #expect(receiver.bufferedMessages <= 4)
            #expect(receiver.credit <= 1)
            #expect(budget.used > 60_000 && budget.used <= 100_000)
            for _ in 0..<10 {
                let delivery = try #require(try await receiver.next())
                #expect(try await delivery.body.collect(upTo: 10).readableBytes == 1)
                delivery.accept()
                await peer.settle()
            }
            #expect(budget.used == 0)
        }
    }

    @Test func otherBodiesArriveComplete() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(buffer: .mebibytes(1)))
            let text = String(repeating: "x", count: 200_000)
            let bytes = try AMQPMessage(body: text).encoded()
            try await peer.run { _ = $0.send(bytes, on: $0.links[0]) }
            let delivery = try #require(try await receiver.next())
            #expect(!delivery.isStreamed)
            #expect(try delivery.decodeMessage().bodyString == text)
            await expectError(.decodeError) { try await delivery.body.collect(upTo: .mebibytes(1)) }
            delivery.accept()
        }
    }

    @Test func aWindowOfBytesRefusesMessagesThatCannotBeStreamed() async throws {
        try await withSession(PeerScript.init) { session, peer in
            let receiver = try await session.openReceiver(self.configuration(window: .bytes(.kibibytes(64))))
            let bytes = try AMQPMessage(body: String(repeating: "x", count: 200_000)).encoded()
            try await peer.run { _ = $0.send(bytes, on: $0.links[0]) }
            await expectError(.linkMessageSizeExceeded) { try await receiver.next() }
        }
    }
}

/// The bytes of data sections, extracted from a message that arrives in pieces.
struct BodySplitterTests {
    @Test(arguments: [1, 2, 3, 7, 100, 5_000])
    func anyPiecesGiveTheSameBody(size: Int) throws {
        var message = AMQPMessage(
            body: .data([payload(3, fill: 1), payload(300, fill: 2), payload(0), payload(2, fill: 3)])
        )
        message.header.durable = true
        message.properties.subject = String(repeating: "s", count: 300)
        message.applicationProperties["k"] = "v"
        message.footer[.symbol("f")] = "g"
        var rest = try message.encoded()
        var splitter = BodySplitter()
        var body = ByteBuffer()
        while rest.readableBytes > 0 {
            if let piece = rest.readSlice(length: min(size, rest.readableBytes)) { splitter.append(piece) }
            while let bytes = try splitter.next() { body.writeImmutableBuffer(bytes) }
        }
        try splitter.finish()
        #expect(
            Array(body.readableBytesView) == Array(repeating: 1, count: 3) + Array(repeating: 2, count: 300) + [3, 3]
        )
        #expect(splitter.footer?[.symbol("f")] == "g")
    }

    /// The gathered bytes are bounded, and no bytes may follow a footer.
    @Test func aFooterWithoutEndIsAnError() throws {
        var large = BodySplitter()
        large.append(ByteBuffer(bytes: [0x00, 0x53, 0x78, 0xD1, 0x40, 0, 0, 0]))
        #expect(throws: AMQPError.self) { try large.next() }
        var message = AMQPMessage()
        message.footer[.symbol("f")] = "g"
        let footer = try message.encoded()
        var twice = BodySplitter()
        twice.append(footer)
        #expect(try twice.next() == nil)
        twice.append(footer)
        #expect(throws: AMQPError.self) { try twice.next() }
    }

    @Test func aTruncatedBodyIsAnError() throws {
        let whole = try AMQPMessage(body: payload(300)).encoded()
        for count in 1..<whole.readableBytes {
            var splitter = BodySplitter()
            splitter.append(whole.getSlice(at: 0, length: count) ?? ByteBuffer())
            while try splitter.next() != nil {}
            #expect(throws: AMQPError.self) { try splitter.finish() }
        }
    }

    @Test func randomBytesNeverTrap() {
        var random = SeededGenerator(seed: SeededGenerator.seed())
        for _ in 0..<20_000 {
            var bytes: [UInt8] = [0x00, 0x53, UInt8.random(in: 0x70...0x78, using: &random)]
            bytes += (0..<Int.random(in: 0...20, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            var splitter = BodySplitter()
            splitter.append(ByteBuffer(bytes: bytes))
            do {
                while try splitter.next() != nil {}
                try splitter.finish()
            } catch {
                #expect(error.condition == .decodeError)
            }
            _ = try? SectionFront.bodyStart(ByteBuffer(bytes: bytes))
        }
    }
}
