// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// Consumers of a client over sockets: the results of their handlers, and the resulting outcomes at the peer.
@Suite(.timeLimit(.minutes(3)))
struct ClientConsumerTests {
    @Test func aReturnAcceptsAndErrorsReturnTheMessageUntilItIsRejected() async throws {
        try await withConsumer { delivery in
            if try delivery.text != "good" { throw HandlerFailure() }
        } _: { consumer, sender, _, _ in
            #expect(try await sender.send(AMQPMessage(body: "good")) == .accepted)
            var message = AMQPMessage(body: "bad")
            for count: UInt32 in 0...1 {
                message.header.deliveryCount = count
                #expect(try await sender.send(message) == .modified(AMQPModified(deliveryFailed: true)))
            }
            message.header.deliveryCount = 2
            guard case .rejected(let reason?) = try await sender.send(message) else {
                return #expect(Bool(false))
            }
            #expect(reason.condition == .internalError && reason.detail == "no stock")
            let result = await consumer.stop()
            #expect(
                result.received == 4 && result.accepted == 1 && result.failed == 2 && result.rejected == 1
            )
            #expect(
                result.handled == 4 && result.threw == 3 && result.inProgress == 0 && result.stale == 0
            )
            #expect("\(result)" == "4 messages: 1 accepted, 2 failed, 1 rejected; 4 calls: 3 threw")
        }
    }

    @Test(arguments: [true, false])
    func theConsumerCountsAttemptsIfThePeerDoesNot(_ hasID: Bool) async throws {
        let attempts = Mutex<[Int]>([])
        try await withConsumer { delivery in
            attempts.withLock { $0.append(delivery.attempt) }
            throw AMQPError(condition: .preconditionFailed, detail: "no stock")
        } _: { _, sender, _, _ in
            var message = AMQPMessage(body: "m")
            if hasID { message.properties.messageID = "1" }
            for _ in 0..<2 {
                #expect(try await sender.send(message) == .modified(AMQPModified(deliveryFailed: true)))
            }
            let reason = AMQPError(scope: .call, condition: .preconditionFailed, detail: "no stock")
            guard case .rejected(let error?) = try await sender.send(message) else {
                return #expect(Bool(false))
            }
            #expect(error.condition == reason.condition && error.detail == reason.detail)
            // Another message with the same content starts a new count.
            #expect(try await sender.send(message) == .modified(AMQPModified(deliveryFailed: true)))
            #expect(attempts.withLock { $0 } == [1, 2, 3, 1])
        }
    }

    @Test func handlersAndPrefetchedMessagesStayWithinTheirLimits() async throws {
        let log = HandlerLog()
        let running = Mutex((now: 0, most: 0))
        try await withConsumer {
            $0.concurrency = 4
        } handler: { _ in
            running.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            try await log.pass("all")
            running.withLock { $0.now -= 1 }
        } _: { consumer, sender, _, _ in
            try await waitUntil("credit") { sender.credit == 4 }
            let trackers = try await (0..<50).asyncMap {
                try await sender.enqueue(AMQPMessage(body: "\($0)"))
            }
            try await waitUntil("four handlers") { running.withLock { $0.now } == 4 }
            // The peer keeps the other messages, because slow handlers prefetch nothing.
            #expect(sender.credit == 0 && consumer.result.received == 4)
            log.open("all")
            for tracker in trackers { #expect(try await tracker.outcome() == .accepted) }
            #expect(running.withLock { $0.most } == 4)
            let result = await consumer.stop()
            #expect(result.accepted == 50 && result.received == 50)
        }
    }

    @Test func aHandlerCanSettleItsMessage() async throws {
        try await withConsumer { delivery in
            switch try delivery.text {
            case "accept": delivery.accept()
            case "reject": delivery.reject(AMQPError(condition: .notAllowed))
            case "release": delivery.release()
            default: delivery.modify(AMQPModified(undeliverableHere: true))
            }
            #expect(delivery.accept() == .stale)
            throw HandlerFailure()
        } _: { consumer, sender, _, _ in
            #expect(try await sender.send(AMQPMessage(body: "accept")) == .accepted)
            guard case .rejected(let reason) = try await sender.send(AMQPMessage(body: "reject")) else {
                return #expect(Bool(false))
            }
            #expect(reason?.condition == .notAllowed)
            #expect(try await sender.send(AMQPMessage(body: "release")) == .released)
            let changes = AMQPModified(undeliverableHere: true)
            #expect(try await sender.send(AMQPMessage(body: "modify")) == .modified(changes))
            let result = await consumer.stop()
            #expect(
                result.byApplication == 4 && result.received == 4 && result.threw == 4 && result.done == 4
            )
        }
    }

    @Test func aTimeoutFailsTheMessageAndCancelsTheHandler() async throws {
        let log = HandlerLog()
        try await withConsumer {
            $0.timeout = .milliseconds(50)
        } handler: { delivery in
            let body = try delivery.text
            guard body != "good" else { return }
            do { try await log.pass("never") } catch {
                log.add("cancelled")
                throw error
            }
        } _: { consumer, sender, _, _ in
            let hanging = try await sender.enqueue(AMQPMessage(body: "slow"))
            #expect(try await sender.send(AMQPMessage(body: "good")) == .accepted)
            #expect(try await hanging.outcome() == .modified(AMQPModified(deliveryFailed: true)))
            var message = AMQPMessage(body: "slow")
            message.header.deliveryCount = 2
            guard case .rejected(let reason?) = try await sender.send(message) else {
                return #expect(Bool(false))
            }
            #expect(reason.detail.contains("did not finish within"))
            let result = await consumer.stop()
            #expect(log.all == ["cancelled", "cancelled"])
            #expect(
                result.timedOut == 2 && result.failed == 1 && result.rejected == 1 && result.threw == 0
            )
        }
    }

    @Test func messagesOfAKeyStayInOrderAndAreRetriedInPlace() async throws {
        let log = HandlerLog()
        try await withConsumer {
            $0.order = .byGroupID
            $0.concurrency = 8
        } handler: { delivery in
            let message = try delivery.decodeMessage()
            let name = "\(message.properties.groupID ?? "")\(message.bodyString ?? "")"
            log.add("\(name).\(delivery.attempt)")
            // The first message of key "a" fails on every attempt. The second message of key "b" fails once.
            if name == "a0" || name == "b1" && delivery.attempt == 1 { throw HandlerFailure() }
        } _: { consumer, sender, _, _ in
            var trackers: [AMQPTracker] = []
            for number in 0..<3 {
                for group in ["a", "b"] {
                    var message = AMQPMessage(body: "\(number)")
                    message.properties.groupID = group
                    trackers.append(try await sender.enqueue(message))
                }
            }
            var outcomes: [AMQPOutcome] = []
            for tracker in trackers { outcomes.append(try await tracker.outcome()) }
            guard case .rejected = outcomes[0] else { return #expect(Bool(false)) }
            #expect(outcomes.dropFirst().allSatisfy { $0 == .accepted })
            #expect(log.all.filter { $0.hasPrefix("a") } == ["a0.1", "a0.2", "a0.3", "a1.1", "a2.1"])
            #expect(log.all.filter { $0.hasPrefix("b") } == ["b0.1", "b1.1", "b1.2", "b2.1"])
            let result = await consumer.stop()
            #expect(
                result.received == 6 && result.handled == 9 && result.retried == 3 && result.failed == 0
            )
        }
    }

    @Test(arguments: [ProtonExample.broker, .cppBroker])
    func foreignBrokersWork(_ broker: ProtonExample) async throws {
        try await broker.withBroker { _, port in
            try await AMQPClient.withClient(url: "amqp://127.0.0.1:\(port)") { client in
                let sender = try await client.sender(to: "jobs")
                for number in 0..<200 { _ = try await sender.enqueue(AMQPMessage(body: "\(number)")) }
                let consumer = AMQPConsumer(client, .init(source: "jobs")) { _ in }
                let running = Task { try await consumer.run() }
                try await waitUntil("the messages") { consumer.result.accepted == 200 }
                // These brokers do not answer a drain.
                let start = ContinuousClock.now
                await consumer.stop(within: .seconds(60))
                let time = ContinuousClock.now - start
                #expect(time < .seconds(20), "\(time)")
                try await running.value
                let result = consumer.result
                #expect(result.received == 200 && result.handled == 200 && result.stale == 0, "\(result)")
            }
        }
    }

    @Test func poisonousMessagesDoNotStopOthers() async throws {
        try await withConsumer {
            $0.concurrency = 2
            $0.timeout = .milliseconds(20)
        } handler: { delivery in
            let body = try delivery.text
            if body.hasPrefix("bad") { throw HandlerFailure() }
            if body.hasPrefix("slow") { try await Task.sleep(for: .seconds(100)) }
        } _: { consumer, sender, _, _ in
            var trackers: [String: AMQPTracker] = [:]
            for number in 0..<300 {
                let kind = number % 10 == 0 ? "bad" : number % 25 == 1 ? "slow" : "good"
                trackers["\(kind) \(number)"] = try await sender.enqueue(
                    AMQPMessage(body: "\(kind) \(number)")
                )
            }
            for (body, tracker) in trackers {
                let isGood = body.hasPrefix("good")
                #expect(
                    try await tracker.outcome()
                        == (isGood ? .accepted : .modified(.init(deliveryFailed: true)))
                )
            }
            let result = await consumer.stop()
            #expect(result.received == 300 && result.accepted + result.failed == 300)
        }
    }
}
