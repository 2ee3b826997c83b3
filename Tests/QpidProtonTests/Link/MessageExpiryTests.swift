// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// Messages with a time limit for the beginning of their transfer.
@Suite(.deadline)
struct MessageExpiryTests {
    private static let withoutCredit = { @Sendable () -> PeerScript in
        var script = PeerScript()
        script.credit = nil
        return script
    }

    private static func options(_ limit: Duration, tag: [UInt8]? = nil) -> AMQPSendOptions {
        AMQPSendOptions(deliveryTag: tag, expiresAfter: limit)
    }

    private func expectExpired(_ tracker: AMQPTracker) {
        guard case .failure(let error)? = tracker.result else {
            Issue.record("not expired: \(tracker.result as Any)")
            return
        }
        #expect(error.condition == .expired && error.fate == .expired && error.scope == .delivery && !error.isRetryable)
    }

    @Test func aMessageExpiresWhileItWaitsForCredit() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let early = try await sender.enqueue(AMQPMessage(body: "a"), options: Self.options(.seconds(2), tag: [9]))
            let plain = try await sender.enqueue(AMQPMessage(body: "b"))
            let late = try await sender.enqueue(encoded: payload(30), options: Self.options(.seconds(4)))
            await peer.advance(by: .milliseconds(1_990))
            #expect(early.result == nil)
            await peer.advance(by: .milliseconds(20))
            self.expectExpired(early)
            #expect(late.result == nil)
            await peer.advance(by: .seconds(3))
            self.expectExpired(late)
            try await peer.run { pn_link_flow($0.links[0], 5) }
            #expect(try await plain.outcome() == .accepted)
            #expect(try await peer.run { $0.received.count } == 1)
            #expect(sender.outgoingBytes == 0)
            #expect(try await peer.run { $0.handler.choices.isEmpty })
        }
    }

    /// The waiting call throws, and its error states the time limit.
    @Test func theWaitingCallThrowsTheError() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let message = AMQPMessage(body: "x")
            let sending = begin { try await sender.send(message, options: Self.options(.seconds(3))) }
            await peer.advance(by: .seconds(4))
            let error = await expectError(.expired) { try await sending.value }
            #expect(error?.detail == "the message expired: no byte was sent within 3.0 seconds")
            #expect(error?.description.hasPrefix("message expired: ") == true)
        }
    }

    @Test func aMessageExpiresWhileItWaitsForRoom() async throws {
        try await withSession(session: .init(sendLimit: .init(high: 100)), Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await sender.enqueue(encoded: payload(100))
            let waiting = begin { try await sender.enqueue(encoded: payload(50), options: Self.options(.seconds(3))) }
            await peer.settle()
            #expect(!waiting.isDone)
            await peer.advance(by: .seconds(4))
            let error = await expectError(.expired) { try await waiting.value }
            #expect(error?.fate == .expired && session.outgoingBytes == 100)
        }
    }

    /// The wait for room counts against the time limit.
    @Test func theTimeRunsFromTheCall() async throws {
        try await withSession(session: .init(sendLimit: .init(high: 100, low: 60)), Self.withoutCredit) {
            session,
            peer in
            let sender = try await session.openSender(to: "q")
            let first = begin {
                try await sender.send(AMQPMessage(body: payload(80)), options: Self.options(.seconds(2)))
            }
            await peer.settle()
            let second = begin {
                try await sender.enqueue(encoded: payload(50), options: Self.options(.seconds(3)))
            }
            await peer.advance(by: .milliseconds(2_100))
            await expectError(.expired) { try await first.value }
            let tracker = try await second.value
            #expect(tracker.result == nil)
            await peer.advance(by: .seconds(1))
            self.expectExpired(tracker)
            #expect(session.outgoingBytes == 0)
        }
    }

    /// Credit that arrives after the time limit is used for the next message.
    @Test func anExpiredMessageUsesNoCredit() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let late = try sender.trySend(AMQPMessage(body: "a"), options: Self.options(.zero))
            let next = try sender.trySend(AMQPMessage(body: "b"))
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await next.outcome() == .accepted)
            self.expectExpired(late)
            #expect(try await peer.run { $0.received.map(\.tag) } == [[1]])
        }
    }

    @Test func aMessageThatHasBegunDoesNotExpire() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let tracker = try await sender.enqueue(AMQPMessage(body: "a"), options: Self.options(.seconds(1)))
            await peer.advance(by: .seconds(9))
            #expect(tracker.result == nil)
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            #expect(try await tracker.outcome() == .accepted)
        }
    }

    @Test func aStreamThatDoesNotBeginExpires() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let body = MadeBody(count: 3, size: 50_000)
            let streaming = begin { try await sender.stream(options: Self.options(.seconds(1)), body: body) }
            let plain = begin { try await sender.send(AMQPMessage(body: "b")) }
            await peer.advance(by: .seconds(2))
            let error = await expectError(.expired) { try await streaming.value }
            #expect(error?.fate == .expired)
            try await peer.run { pn_link_flow($0.links[0], 1) }
            #expect(try await plain.value == .accepted)
            #expect(sender.outgoingBytes == 0)
        }
    }

    /// Many different time limits need few timers, and each message expires in time.
    @Test func manyMessagesExpireInTheirOrder() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            var trackers: [AMQPTracker] = []
            for index in 0..<500 {
                trackers.append(
                    try await sender.enqueue(encoded: payload(10), options: Self.options(.milliseconds(1_000 + index)))
                )
            }
            await peer.advance(by: .milliseconds(1_250))
            let expired = trackers.count { $0.result != nil }
            #expect((245...251).contains(expired), "\(expired) of 500")
            #expect(trackers.prefix(expired).allSatisfy { $0.result != nil })
            await peer.advance(by: .milliseconds(300))
            for tracker in trackers { self.expectExpired(tracker) }
            #expect(sender.outgoingBytes == 0)
        }
    }

    /// A close with a limit waits no longer than its messages live, and does not report expired messages as unfinished.
    @Test func aCloseDoesNotWaitForAnExpiredMessage() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let tracker = try await sender.enqueue(AMQPMessage(body: "a"), options: Self.options(.seconds(2)))
            let closing = begin { await sender.close(within: .seconds(60)) }
            await peer.advance(by: .seconds(3))
            let result = try await closing.value
            self.expectExpired(tracker)
            #expect(result.isComplete, "\(result)")
        }
    }
}
