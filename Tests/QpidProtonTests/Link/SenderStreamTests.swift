// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// A body that the test feeds piece by piece.
final class FedBody: AsyncSequence, Sendable {
    struct Broken: Error {}

    typealias Element = ByteBuffer
    private let pieces: AsyncThrowingStream<ByteBuffer, any Error>
    private let continuation: AsyncThrowingStream<ByteBuffer, any Error>.Continuation

    init() {
        (self.pieces, self.continuation) = AsyncThrowingStream.makeStream()
    }

    func feed(_ bytes: ByteBuffer) { self.continuation.yield(bytes) }
    func end(_ error: (any Error)? = nil) { self.continuation.finish(throwing: error) }

    struct AsyncIterator: AsyncIteratorProtocol {
        var pieces: AsyncThrowingStream<ByteBuffer, any Error>.AsyncIterator
        mutating func next(isolation actor: isolated (any Actor)?) async throws -> ByteBuffer? {
            try await self.pieces.next(isolation: actor)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(pieces: self.pieces.makeAsyncIterator()) }
}

/// A body that generates its pieces on demand.
struct MadeBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let count: Int
    let size: Int

    struct AsyncIterator: AsyncIteratorProtocol {
        let body: MadeBody
        var number = 0
        mutating func next() async -> ByteBuffer? {
            guard self.number < self.body.count else { return nil }
            self.number += 1
            return payload(self.body.size, fill: UInt8(truncatingIfNeeded: self.number))
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }
}

/// Messages that are sent while their body is produced.
@Suite(.deadline(minutes: 5))
struct SenderStreamTests {
    private func body(_ message: InMemoryPeer.Received) throws -> ByteBuffer {
        var all = ByteBuffer()
        if case .data(let sections) = try AMQPMessage(decoding: message.bytes).body {
            for section in sections { all.writeImmutableBuffer(section) }
        }
        return all
    }

    @Test(arguments: [0, 1, 3, 100], [nil, true] as [Bool?])
    func aBodyArrivesUnchanged(pieces: Int, hasLength: Bool?) async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            var message = AMQPMessage()
            message.properties.subject = "s"
            message.applicationProperties["a"] = "b"
            message.footer[.symbol("f")] = .uint(1)
            let made = MadeBody(count: pieces, size: 70_000)
            let length = hasLength.map { _ in AMQPByteCount(pieces * 70_000) }
            let outcome = try await sender.stream(message, length: length, body: made)
            #expect(outcome == .accepted)
            let received = try await peer.run { $0.received }
            #expect(received.count == 1)
            let decoded = try AMQPMessage(decoding: received[0].bytes)
            #expect(decoded.properties.subject == "s")
            #expect(decoded.applicationProperties["a"] == "b")
            #expect(decoded.footer[.symbol("f")] == .uint(1))
            if case .data(let sections) = decoded.body { #expect(hasLength == nil || sections.count == 1) }
            var expected = ByteBuffer()
            for number in 0..<pieces {
                expected.writeImmutableBuffer(payload(70_000, fill: UInt8(truncatingIfNeeded: number + 1)))
            }
            #expect(try self.body(received[0]) == expected)
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func aPieceLeavesBeforeTheNextIsMade() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            fed.feed(payload(1_000))
            try await eventually("the first piece arrives") {
                try await peer.run { $0.partial.values.first?.readableBytes ?? 0 } >= 1_000
            }
            #expect(!stream.isDone)
            fed.feed(payload(5))
            fed.end()
            #expect(try await stream.value == .accepted)
            #expect(try await self.body(peer.run { $0.received[0] }).readableBytes == 1_005)
        }
    }

    @Test func theSendLimitHoldsTheBodyBack() async throws {
        let limit = AMQPSession.Configuration(sendLimit: .init(high: .kibibytes(256)))
        try await withSession(session: limit, { PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let body = MadeBody(count: 200, size: 65_536)
            let stream = begin { try await sender.stream(body: body) }
            try await eventually("the limit is reached") { session.outgoingBytes > 150_000 }
            #expect(session.outgoingBytes <= 262_144)
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await stream.value == .accepted)
            #expect(session.outgoingBytesPeak <= 262_144)
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func laterMessagesWaitAndCannotUseTheRoomOfTheBody() async throws {
        let limit = AMQPSession.Configuration(sendLimit: .init(high: .kibibytes(128)))
        try await withSession(session: limit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            fed.feed(payload(60_000))
            try await eventually("the stream has begun") { sender.outgoingBytesPeak > 0 }
            await expectError(.wouldBlock) { try sender.trySend(encoded: payload(10)) }
            let others = (1...4).map { number in begin { try await sender.enqueue(encoded: payload(100_000 + number)) }
            }
            let second = begin { try await sender.stream(body: MadeBody(count: 2, size: 10)) }
            for _ in 0..<20 { fed.feed(payload(60_000)) }
            fed.end()
            #expect(try await stream.value == .accepted)
            for other in others { #expect(try await other.value.outcome() == .accepted) }
            #expect(try await second.value == .accepted)
            let received = try await peer.run { $0.received }
            #expect(received.count == 6)
            #expect(try self.body(received[0]).readableBytes == 21 * 60_000)
            #expect(session.outgoingBytesPeak <= 131_072)
        }
    }

    @Test func aBodyThatThrowsAbortsTheMessage() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            fed.feed(payload(100_000))
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            fed.end(FedBody.Broken())
            await #expect(throws: FedBody.Broken.self) { try await stream.value }
            await peer.settle()
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
            #expect(session.outgoingBytes == 0)
            #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted)
        }
    }

    @Test func aCancelledStreamIsWithdrawnOrAborted() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            // Without credit the message has not begun.
            let unsent = begin { try await sender.stream(body: FedBody()) }
            try await eventually("the beginning waits") { sender.outgoingBytes > 0 }
            unsent.cancel()
            await expectError(.cancelled) { try await unsent.value }
            #expect(sender.outgoingBytes == 0)
            try await peer.run { pn_link_flow($0.links[0], 5) }
            let fed = FedBody()
            let begun = begin { try await sender.stream(body: fed) }
            fed.feed(payload(50_000))
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            begun.cancel()
            await expectError(.cancelled) { try await begun.value }
            await peer.settle()
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
            #expect(sender.outgoingBytes == 0)
        }
    }

    /// A message with one refused part is not unsent, because the peer has its beginning.
    @Test func aStartedStreamIsNotReportedUnsent() async throws {
        let limit = AMQPSession.Configuration(sendLimit: .init(high: 1_000))
        try await withSession(session: limit) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            let fed = FedBody()
            fed.feed(payload(400))
            fed.feed(payload(800))
            let stream = begin { try await sender.stream(body: fed) }
            try await eventually("it has begun") {
                try await session.snapshot().protonOutgoingBytes == 0 && sender.outgoingBytes > 400
            }
            await peer.settle()
            stream.cancel()
            let error = await expectError(.cancelled) { try await stream.value }
            #expect(error?.fate == .aborted)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
        }
    }

    @Test func aPeerThatRejectsEarlyEndsTheStream() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            fed.feed(payload(50_000))
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            try await peer.run { peer in
                if let current = pn_link_current(peer.links[0]) { pn_delivery_update(current, UInt64(PN_REJECTED)) }
            }
            fed.feed(payload(10))
            #expect(try await stream.value == .rejected(nil))
            fed.end()
            await peer.settle()
            #expect(session.outgoingBytes == 0)
            #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted)
        }
    }

    /// The stream does not wait for a producer that is silent for a long time.
    @Test(arguments: [PN_REJECTED, PN_ACCEPTED, nil])
    func aSilentProducerIsCancelledAtTheEnd(state: Int32?) async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let (pieces, continuation) = AsyncStream<ByteBuffer>.makeStream()
            let isCancelled = Reply<Void>()
            continuation.onTermination = { if case .cancelled = $0 { isCancelled.resolve(.success(())) } }
            continuation.yield(payload(50_000))
            let stream = begin { try await sender.stream(body: pieces) }
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            #expect(!stream.isDone)
            try await peer.run { peer in
                guard let state else { return pn_link_close(peer.links[0]) }
                if let current = pn_link_current(peer.links[0]) {
                    pn_delivery_update(current, UInt64(state))
                    pn_delivery_settle(current)
                }
            }
            if state == nil {
                await expectError(.closed) { try await stream.value }
            } else {
                #expect(try await stream.value == (state == PN_REJECTED ? .rejected(nil) : .accepted))
            }
            #expect(isCancelled.answer != nil)
            await peer.settle()
            #expect(session.outgoingBytes == 0)
            if state != nil { #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted) }
        }
    }

    /// A body that only one task may use.
    @Test func aBodyNeedNotBeSendable() async throws {
        final class Countdown: AsyncSequence, AsyncIteratorProtocol {
            var left = 3
            func makeAsyncIterator() -> Countdown { self }
            func next() async -> ByteBuffer? {
                guard self.left > 0 else { return nil }
                self.left -= 1
                return payload(self.left + 1)
            }
        }
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            #expect(try await sender.stream(body: Countdown()) == .accepted)
            #expect(try await self.body(peer.run { $0.received[0] }).readableBytes == 6)
        }
    }

    /// A drain waits for the end of the current message, even if that message is abandoned.
    @Test(arguments: [true, false])
    func aDrainIsAnsweredAfterAnAbort(isRejected: Bool) async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[0], 5) }
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            fed.feed(payload(50_000))
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            try await peer.run { pn_link_drain($0.links[0], 0) }
            if isRejected {
                try await peer.run { peer in
                    if let current = pn_link_current(peer.links[0]) { pn_delivery_update(current, UInt64(PN_REJECTED)) }
                }
                fed.end()
                #expect(try await stream.value == .rejected(nil))
            } else {
                fed.end(FedBody.Broken())
                await #expect(throws: FedBody.Broken.self) { try await stream.value }
            }
            await peer.settle()
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
            #expect(sender.credit == 0)
            try await peer.run { peer in
                _ = pn_link_drained(peer.links[0])
                pn_link_set_drain(peer.links[0], false)
                pn_link_flow(peer.links[0], 3)
            }
            #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted)
            await peer.settle()
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 2)
            #expect(sender.credit == 2)
        }
    }

    /// If the peer closes the link while its window is closed, its partial message never becomes complete.
    @Test(arguments: [true, false])
    func aPartialMessageOnALinkClosedByThePeerIsNeverCompleted(isLinkAlone: Bool) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.sessionCapacity = 131_072
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            for _ in 0..<4 { fed.feed(payload(60_000)) }
            try await eventually("the window is closed") {
                try await session.snapshot().remoteIncomingWindow <= 0
            }
            // The window opens and the link ends before the library receives either frame.
            try await peer.run { peer in
                peer.toLibrary.allowance = 0
                peer.receive(peer.links[0])
                peer.turn()
                if isLinkAlone { pn_link_close(peer.links[0]) } else { pn_session_close(peer.sessions[0]) }
                peer.turn()
                peer.script.takesMessages = true
                peer.toLibrary.allowance = nil
            }
            fed.end()
            await expectError(.closed) { try await stream.value }
            await peer.settle()
            #expect(try await peer.run { $0.received.allSatisfy { $0.isAborted } })
            #expect(session.outgoingBytes == 0)
        }
    }

    /// While the window is closed, Proton cannot frame the abort of the abandoned message.
    @Test func aDrainWaitsForAnAbortBehindAClosedWindow() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil)
            script.sessionCapacity = 131_072
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[0], 5) }
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            for _ in 0..<4 { fed.feed(payload(60_000)) }
            try await eventually("the window is closed") {
                try await session.snapshot().remoteIncomingWindow <= 0
            }
            try await peer.run { pn_link_drain($0.links[0], 0) }
            try await peer.run { peer in
                if let current = pn_link_current(peer.links[0]) { pn_delivery_update(current, UInt64(PN_REJECTED)) }
            }
            fed.end()
            #expect(try await stream.value == .rejected(nil))
            try await peer.run { peer in
                peer.script.takesMessages = true
                peer.receive(peer.links[0])
            }
            await peer.settle()
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
            #expect(try await peer.run { pn_link_credit($0.links[0]) } == 0)
            try await peer.run { peer in
                _ = pn_link_drained(peer.links[0])
                pn_link_set_drain(peer.links[0], false)
                pn_link_flow(peer.links[0], 3)
            }
            #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted)
            #expect(sender.credit == 2)
        }
    }

    @Test func theLengthMustBeTrue() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            for told in [25, 35] {
                await expectError(.invalidArgument) {
                    try await sender.stream(length: AMQPByteCount(told), body: MadeBody(count: 3, size: 10))
                }
            }
            await expectError(.invalidArgument) {
                try await sender.stream(AMQPMessage(body: "b"), body: MadeBody(count: 3, size: 10))
            }
            await peer.settle()
            #expect(try await peer.run { $0.received.allSatisfy { $0.isAborted } })
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func theEndOfTheLinkEndsTheStream() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(body: fed) }
            fed.feed(payload(50_000))
            try await eventually("it has begun to arrive") { try await peer.run { !$0.partial.isEmpty } }
            try await peer.run { pn_link_close($0.links[0]) }
            fed.feed(payload(10))
            await expectError(.closed) { try await stream.value }
            fed.end()
            #expect(session.outgoingBytes == 0)
        }
    }

    @Test func aHundredAbortsLeakNothing() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<100 {
                let fed = FedBody()
                fed.feed(payload(20_000))
                fed.end(FedBody.Broken())
                await #expect(throws: FedBody.Broken.self) { try await sender.stream(body: fed) }
            }
            #expect(try await sender.send(AMQPMessage(body: "next")) == .accepted)
            #expect(session.outgoingBytes == 0)
        }
    }
}
