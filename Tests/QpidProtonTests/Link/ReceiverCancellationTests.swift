// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// A cancelled task receives no further elements from any source. Waiting elements stay for other tasks.
@Suite(.deadline)
struct ReceiverCancellationTests {
    /// The call with which a task receives messages.
    enum Way: CaseIterable {
        case next, nextBatch, receive, iteration, batches

        /// Returns a function that receives one message or one batch with each call.
        func taker(_ receiver: AMQPReceiver) -> () async throws -> [AMQPDelivery] {
            switch self {
            case .next: { try await receiver.next().map { [$0] } ?? [] }
            case .nextBatch: { try await receiver.nextBatch(max: 2) }
            case .receive: { try await receiver.receive(timeout: .seconds(60)).map { [$0] } ?? [] }
            case .iteration:
                { [iterator = receiver.makeAsyncIterator()] in
                    try await iterator.next(isolation: nil).map { [$0] } ?? []
                }
            case .batches:
                { [iterator = receiver.batches(max: 2).makeAsyncIterator()] in
                    try await iterator.next(isolation: nil) ?? []
                }
            }
        }
    }

    private func cancelThisTask() {
        withUnsafeCurrentTask { $0?.cancel() }
    }

    @Test(arguments: Way.allCases) func aCancelledTaskReceivesNoFurtherMessage(way: Way) async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { peer in
                for size in 0..<10 { peer.send(payload(size), on: peer.links[0]) }
            }
            let taken = begin {
                let take = way.taker(receiver)
                let first = try await take()
                first.acceptAll()
                self.cancelThisTask()
                for _ in 0..<3 { await expectError(.cancelled) { try await take() } }
                return first.count
            }
            let count = try await taken.value
            #expect(count == (way == .nextBatch || way == .batches ? 2 : 1))
            #expect(receiver.bufferedMessages == 10 - count)
            for size in count..<10 { #expect(try await receiver.next()?.payload.readableBytes == size) }
        }
    }

    /// A task receives a message that was delivered before the cancellation, and no other message with it.
    @Test func aBatchThatWasWaitedForEndsWithTheCancellation() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            let cancelled = begin {
                self.cancelThisTask()
                return try await receiver.nextBatch(max: 5)
            }
            try await peer.run { peer in
                for size in 0..<3 { peer.send(payload(size), on: peer.links[0]) }
            }
            await expectError(.cancelled) { try await cancelled.value }
            #expect(receiver.bufferedMessages == 3)
            // `poll` never suspends, so a cancelled task can use it to clean up.
            let swept = begin {
                self.cancelThisTask()
                return receiver.poll()
            }
            #expect(try await swept.value?.payload == payload(0))
        }
    }

    @Test(arguments: [true, false]) func aCancelledTaskReceivesNoFurtherBytesOfABody(isStreamed: Bool) async throws {
        try await withSession { session, peer in
            var configuration = AMQPReceiver.Configuration(source: "q")
            configuration.streamsMessages = isStreamed
            let receiver = try await session.openReceiver(configuration)
            let message = AMQPMessage(body: .data([payload(1_000, fill: 1), payload(2_000, fill: 2)]))
            let bytes = try message.encoded()
            let half = bytes.readableBytes / 2
            let parts = [
                bytes.getSlice(at: 0, length: half), bytes.getSlice(at: half, length: bytes.readableBytes - half),
            ]
            let (first, last) = (try #require(parts[0]), try #require(parts[1]))
            try await peer.run { _ = $0.send(first, on: $0.links[0], isLast: false) }
            let early = isStreamed ? try await receiver.next() : nil
            try await peer.run { _ = $0.send(last, on: $0.links[0]) }
            let whole = isStreamed ? nil : try await receiver.next()
            let delivery = try #require(early ?? whole)
            #expect(delivery.isStreamed == isStreamed)
            let cancelled = begin {
                var body = delivery.body.makeAsyncIterator()
                let first = try await body.next(isolation: nil)
                self.cancelThisTask()
                for _ in 0..<3 { await expectError(.cancelled) { try await body.next(isolation: nil) } }
                return first
            }
            #expect(try await cancelled.value == payload(1_000, fill: 1))
            // A message that arrived complete is read from its beginning.
            let rest = try await delivery.body.collect(upTo: .kibibytes(10))
            #expect(rest.readableBytes == (isStreamed ? 2_000 : 3_000))
            #expect(rest.getSlice(at: rest.writerIndex - 2_000, length: 2_000) == payload(2_000, fill: 2))
        }
    }

    @Test func aCancelledTaskReceivesNoFurtherRequest() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        try await withPeer(role: .server, configuration: configuration) { connection, peer in
            try await peer.run { peer in
                for _ in 0..<3 { if let session = pn_session(peer.connection) { pn_session_open(session) } }
            }
            let cancelled = begin {
                let incoming = connection.incoming.makeAsyncIterator()
                let first = try await incoming.next(isolation: nil)
                self.cancelThisTask()
                await expectError(.cancelled) { try await incoming.next(isolation: nil) }
                return first != nil
            }
            #expect(try await cancelled.value)
            let incoming = connection.incoming.makeAsyncIterator()
            for _ in 0..<2 { #expect(try await incoming.next(isolation: nil) != nil) }
        }
    }

    @Test func aCancelledTaskReceivesNoFurtherFlowEvent() async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: AMQPFlowEvent.self)
        let events = FlowEvents(stream: stream)
        for number in 0..<3 {
            continuation.yield(
                AMQPFlowEvent(
                    linkName: "\(number)",
                    isSender: false,
                    cause: .application,
                    kind: .blocked(for: .zero)
                )
            )
        }
        let cancelled = begin {
            var iterator = events.makeAsyncIterator()
            let first = await iterator.next(isolation: nil)
            self.cancelThisTask()
            let second = await iterator.next(isolation: nil)
            return [first?.linkName, second?.linkName]
        }
        #expect(try await cancelled.value == ["0", nil])
        var iterator = events.makeAsyncIterator()
        #expect(await iterator.next(isolation: nil)?.linkName == "1")
    }

    /// A message that is delivered at the moment of a task's cancellation is received by that task or by another one.
    @Test func manyCancellationsUnderLoadLoseAndDoubleNothing() async throws {
        let seed = SeededGenerator.seed()
        let count = 1_000
        // The outcomes by delivery-tag.
        let outcomes = Mutex<[UInt64: [UInt64]]>([:])
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onUpdate = { _, delivery in
                let tag = pn_delivery_tag(delivery)
                let bytes = UnsafeRawBufferPointer(start: tag.start, count: tag.size)
                let number = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                outcomes.withLock { $0[number, default: []].append(pn_delivery_remote_state(delivery)) }
                pn_delivery_settle(delivery)
            }
            return script
        }
        let taken = Mutex<[UInt64]>([])
        try await withSession(script) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(40))
            try await peer.run { peer in
                for size in 0..<count { peer.send(payload(size % 100), on: peer.links[0]) }
            }
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<6 {
                    group.addTask { @Sendable in
                        var random = SeededGenerator(seed: seed &+ UInt64(index))
                        while taken.withLock({ $0.count }) < count - 200 {
                            let way = [Way.next, .nextBatch, .receive].randomElement(using: &random) ?? .next
                            let wait = Task { try await way.taker(receiver)() }
                            for _ in 0..<Int.random(in: 0...20, using: &random) { await Task.yield() }
                            wait.cancel()
                            guard let deliveries = try? await wait.value else { continue }
                            taken.withLock { taken in
                                taken += deliveries.map { $0.tag.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
                            }
                            deliveries.acceptAll()
                        }
                    }
                }
            }
            try await receiver.close().check()
            await peer.settle()
        }
        let ids = taken.withLock { $0 }
        #expect(Set(ids).count == ids.count)
        let decided = outcomes.withLock { $0 }
        #expect(decided.values.allSatisfy { $0.count == 1 })
        let accepted = decided.filter { $0.value == [UInt64(PN_ACCEPTED)] }.keys
        #expect(Set(accepted) == Set(ids))
        let released = decided.filter { $0.value == [UInt64(PN_RELEASED)] }.keys
        // The decisions are in order and without gaps.
        #expect(decided.count == accepted.count + released.count)
        #expect(Set(decided.keys) == Set(1...UInt64(decided.count)))
    }
}
