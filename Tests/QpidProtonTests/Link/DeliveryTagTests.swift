// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Delivery-tags that the application chooses. Source: AMQP 1.0 §2.6.12 and §2.8.7.
@Suite(.deadline)
struct DeliveryTagTests {
    private static func tagged(_ tag: [UInt8], format: UInt32 = 0) -> AMQPSendOptions {
        AMQPSendOptions(deliveryTag: tag, messageFormat: format)
    }

    private func tags(_ peer: InMemoryPeer) async throws -> [[UInt8]] { try await peer.run { $0.received.map(\.tag) } }

    private func expectInUse(_ tracker: AMQPTracker, _ tag: String) async {
        let error = await expectError(.resourceLocked) { try await tracker.outcome() }
        #expect(error?.fate == .notSent && error?.scope == .delivery)
        #expect(error?.detail.contains("delivery-tag \(tag) ") == true, "\(error as Any)")
    }

    @Test func aChosenTagIsOnTheWire() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let long = (0..<32).map { UInt8($0) }
            let message = AMQPMessage(body: "a")
            #expect(try await sender.send(message, options: Self.tagged([0])) == .accepted)
            #expect(try await sender.send(message) == .accepted)
            #expect(try await sender.enqueue(message, options: Self.tagged(long)).outcome() == .accepted)
            #expect(try await sender.enqueue(encoded: payload(9), options: Self.tagged([7, 7])).outcome() == .accepted)
            #expect(try await sender.trySend(message, options: Self.tagged([8])).outcome() == .accepted)
            #expect(try await sender.trySend(encoded: payload(9), options: Self.tagged([9])).outcome() == .accepted)
            let body = MadeBody(count: 3, size: 50_000)
            #expect(try await sender.stream(options: Self.tagged([10, 0]), body: body) == .accepted)
            #expect(try await self.tags(peer) == [[0], [2], long, [7, 7], [8], [9], [10, 0]])
            #expect(try await peer.run { $0.handler.choices.isEmpty })
            // Every tag is free again.
            #expect(try await sender.send(message, options: Self.tagged(long)) == .accepted)
        }
    }

    @Test func theTagIsInTheFirstTransferOfALargeMessage() async throws {
        try await withSession({ PeerScript(maxFrameSize: 512) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let tag = Array(repeating: UInt8(0xFF), count: 32)
            #expect(try await sender.enqueue(encoded: payload(5_000), options: Self.tagged(tag)).outcome() == .accepted)
            let transfers = try await peer.framesOfLibrary().filter { $0.code == .transfer }
            #expect(transfers.first?.field(2) == .binary(ByteBuffer(bytes: tag)))
            #expect(transfers.allSatisfy { $0.field(3) == .uint(0) })
            #expect(try await peer.run { $0.received.first?.bytes } == payload(5_000))
        }
    }

    @Test(arguments: [0, 33, 300])
    func aTagOfAnotherLengthIsRefusedAtOnce(count: Int) async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let options = Self.tagged(Array(repeating: 1, count: count))
            let message = AMQPMessage(body: "a")
            let errors = [
                await expectError(.invalidArgument) { try await sender.send(message, options: options) },
                await expectError(.invalidArgument) { try await sender.enqueue(message, options: options) },
                await expectError(.invalidArgument) { try await sender.enqueue(encoded: payload(1), options: options) },
                await expectError(.invalidArgument) { try sender.trySend(message, options: options) },
                await expectError(.invalidArgument) { try sender.trySend(encoded: payload(1), options: options) },
                await expectError(.invalidArgument) {
                    try await sender.stream(options: options, body: MadeBody(count: 1, size: 1))
                },
            ]
            for error in errors { #expect(error?.fate == .notSent && error?.detail.contains("\(count) bytes") == true) }
            #expect(sender.outgoingBytes == 0)
            #expect(try await peer.run { $0.received.isEmpty })
        }
    }

    /// A small message, a message of several slices, and an empty one.
    @Test(arguments: [0, 10, 500_000], [false, true])
    func aTagInUseFailsItsMessageAlone(size: Int, isSettled: Bool) async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .mixed
            let sender = try await session.openSender(configuration)
            let first = try sender.trySend(encoded: payload(1), options: Self.tagged([0xAB, 0xC]))
            let second = try sender.trySend(
                encoded: payload(size),
                settled: isSettled,
                options: Self.tagged([0xAB, 0xC], format: 5)
            )
            let third = try sender.trySend(encoded: payload(3))
            await self.expectInUse(second, "0xab0c")
            await peer.settle()
            #expect(try await self.tags(peer) == [[0xAB, 0xC], [2]])
            #expect(session.outgoingBytes == 0 && sender.outgoingBytes == 0)
            // The failed message has used no credit.
            #expect(sender.credit == 98 && sender.deliveryLimit == 100)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await first.outcome() == .accepted)
            #expect(try await third.outcome() == .accepted)
            // The settlement has freed the tag.
            let again = try sender.trySend(
                encoded: payload(size),
                settled: isSettled,
                options: Self.tagged([0xAB, 0xC])
            )
            await peer.settle()
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await again.outcome() == (isSettled ? .settled : .accepted))
            #expect(session.outgoingBytes == 0)
            #expect(try await peer.run { $0.handler.choices.isEmpty })
        }
    }

    @Test func aStreamedMessageWhoseTagIsInUseFails() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let first = try sender.trySend(encoded: payload(1), options: Self.tagged([1, 2, 3]))
            await peer.settle()
            let fed = FedBody()
            let stream = begin { try await sender.stream(options: Self.tagged([1, 2, 3]), body: fed) }
            for _ in 0..<3 { fed.feed(payload(70_000)) }
            let next = begin { try await sender.enqueue(encoded: payload(2)) }
            let error = await expectError(.resourceLocked) { try await stream.value }
            #expect(error?.fate == .notSent)
            try await eventually("nothing is left") { session.outgoingBytes == 0 }
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await first.outcome() == .accepted)
            let tracker = try await next.value
            await peer.settle()
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await tracker.outcome() == .accepted)
            #expect(try await peer.run { $0.received.map(\.bytes.readableBytes) } == [1, 2])
            fed.end()
        }
    }

    /// The failed message uses no credit, and does not prevent the drain.
    @Test func aDrainIsAnsweredAfterAMessageThatFails() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil)
            script.onMessage = { _, _ in .none }
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { pn_link_flow($0.links[0], 1) }
            let first = try sender.trySend(encoded: payload(1), options: Self.tagged([1]))
            await peer.settle()
            let second = try sender.trySend(encoded: payload(2), options: Self.tagged([1]))
            await peer.settle()
            #expect(second.result == nil)
            try await peer.run { pn_link_drain($0.links[0], 5) }
            await self.expectInUse(second, "0x01")
            await peer.settle()
            #expect(try await peer.run { pn_link_drained($0.links[0]) } == 5)
            #expect(sender.credit == 0 && sender.outgoingBytes == 0)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await first.outcome() == .accepted)
        }
    }

    @Test func aFlushEndsAfterAMessageThatFails() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: nil)
            script.onMessage = { _, _ in .none }
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            let trackers = try (0..<2).map { _ in try sender.trySend(encoded: payload(1), options: Self.tagged([1])) }
            let close = begin { await sender.close(within: .seconds(60)) }
            await peer.settle()
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(!close.isDone)
            try await peer.run { pn_link_flow($0.links[0], 1) }
            await self.expectInUse(trackers[1], "0x01")
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await close.value.isComplete)
            #expect(try await trackers[0].outcome() == .accepted)
        }
    }

    @Test func theLibrarysTagsSkipChosenOnes() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            for tag: [UInt8] in [[2], [4]] { _ = try sender.trySend(encoded: payload(1), options: Self.tagged(tag)) }
            for _ in 0..<3 { _ = try sender.trySend(encoded: payload(1)) }
            await peer.settle()
            #expect(try await self.tags(peer) == [[2], [4], [3], [5], [6]])
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            _ = try sender.trySend(encoded: payload(1))
            await peer.settle()
            #expect(try await self.tags(peer).last == [7])
        }
    }

    @Test func aChosenTagMustDifferFromTheLibrarysToo() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            _ = try (0..<3).map { _ in try sender.trySend(encoded: payload(1)) }
            let refused = try sender.trySend(encoded: payload(1), options: Self.tagged([2]))
            await self.expectInUse(refused, "0x02")
            // Another link has its own tags.
            let other = try await session.openSender(to: "r")
            _ = try other.trySend(encoded: payload(1), options: Self.tagged([2]))
            await peer.settle()
            #expect(try await self.tags(peer) == [[1], [2], [3], [2]])
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            let tracker = try sender.trySend(encoded: payload(1), options: Self.tagged([2]))
            await peer.settle()
            #expect(try await self.tags(peer).last == [2])
            try await peer.run { $0.settleAll(PN_RELEASED) }
            #expect(try await tracker.outcome() == .released)
        }
    }

    /// A message that is sent settled is never unsettled, so its tag is never in use.
    @Test func settledMessagesMayRepeatATag() async throws {
        try await withSession { session, peer in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.settleMode = .settled
            let sender = try await session.openSender(configuration)
            for size in [1, 300_000, 2] {
                let tracker = try await sender.enqueue(encoded: payload(size), options: Self.tagged([5]))
                #expect(try await tracker.outcome() == .settled)
            }
            #expect(try await self.tags(peer) == [[5], [5], [5]])
        }
    }

    @Test func anAbortFreesItsTag() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let fed = FedBody()
            let stream = begin { try await sender.stream(options: Self.tagged([1, 1]), body: fed) }
            fed.feed(payload(10_000))
            try await eventually("it has begun") { try await peer.run { !$0.partial.isEmpty } }
            let next = begin { try await sender.enqueue(encoded: payload(1), options: Self.tagged([9])) }
            fed.end(FedBody.Broken())
            await #expect(throws: FedBody.Broken.self) { try await stream.value }
            #expect(try await next.value.outcome() == .accepted)
            #expect(try await sender.send(AMQPMessage(body: "a"), options: Self.tagged([1, 1])) == .accepted)
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true, false, false])
        }
    }

    @Test func aMessageThatWaitedForRoomKeepsItsTag() async throws {
        try await withSession(session: .init(sendLimit: .init(high: 100, low: 50))) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { $0.toPeer.allowance = 0 }
            _ = try sender.trySend(encoded: payload(100))
            let second = begin { try await sender.enqueue(encoded: payload(90), options: Self.tagged([6, 6])) }
            let third = begin {
                try await sender.stream(options: Self.tagged([7, 7]), body: MadeBody(count: 2, size: 60))
            }
            await peer.settle()
            #expect(!second.isDone && !third.isDone)
            try await peer.run { $0.toPeer.allowance = nil }
            #expect(try await second.value.outcome() == .accepted)
            #expect(try await third.value == .accepted)
            #expect(try await self.tags(peer) == [[1], [6, 6], [7, 7]])
        }
    }

    /// The library frees the options of an unsent message. The result of a close returns them with the message.
    @Test func theChoiceOfAnUnsentMessageIsForgotten() async throws {
        try await withSession({ PeerScript(credit: nil) }) { session, peer in
            var dropping = AMQPSender.Configuration(target: "r")
            dropping.overflow = .dropOldest
            dropping.sendLimit = .init(high: 100, low: 50)
            let sender = try await session.openSender(to: "q")
            let other = try await session.openSender(dropping)
            let options = Self.tagged([1, 2], format: 0x1234_5600)
            let task = begin { try await sender.send(AMQPMessage(body: "a"), options: options) }
            let kept = try sender.trySend(encoded: payload(1), options: options)
            let dropped = try other.trySend(encoded: payload(90), options: options)
            await peer.settle()
            #expect(try await peer.run { $0.handler.choices.count } == 3)
            task.cancel()
            await expectError(.cancelled) { try await task.value }
            _ = try await other.enqueue(encoded: payload(91))
            await expectError(.dropped) { try await dropped.outcome() }
            #expect(try await peer.run { $0.handler.choices.count } == 1)
            let rest = await sender.close()
            #expect(rest.unsent.map(\.options) == [options])
            await expectError(.closed) { try await kept.outcome() }
            #expect(try await peer.run { $0.handler.choices.isEmpty })
        }
    }

    /// A long tag leaves less room for bytes in a frame. The library passes Proton no more than the peer's window has
    /// room for.
    @Test func longTagsAreCountedInTheWindow() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript(credit: 100, maxFrameSize: 512)
            script.sessionCapacity = 512 * 64
            script.takesMessages = false
            return script
        }
        try await withSession(script) { session, peer in
            let sender = try await session.openSender(to: "q")
            for number in UInt8(0)..<40 {
                let tag = Array(repeating: number, count: 32)
                _ = try sender.trySend(encoded: payload(3_000), options: Self.tagged(tag, format: 0xFFFF_FFFF))
                await peer.settle()
                let held = try await peer.run { peer in
                    peer.handler.sessions.values.map { $0.session.outgoingBytes }
                }
                #expect(held == [0], "message \(number)")
            }
            #expect(try await session.snapshot().remoteIncomingWindow < 2)
        }
    }

    /// Options do not enlarge messages without options.
    @Test func messagesAreNoLargerThanBefore() {
        #expect(MemoryLayout<PendingMessage>.stride == 48)
        #expect(MemoryLayout<AMQPDelivery>.size == 96)
        #expect(MemoryLayout<StoredTag>.size == 40)
    }
}
