import QpidProton
import Synchronization
import Testing

/// Consumers of a client, over sockets: what their handlers do, and what the peer sees of it.
@Suite(.timeLimit(.minutes(3)))
struct ClientConsumerTests {
    private struct Failure: Error, CustomStringConvertible {
        var description = "no stock"
    }

    /// What handlers did.
    private final class Log: Sendable {
        private let entries = Mutex<[String]>([])
        let gates = Mutex<Set<String>>([])
        var all: [String] { self.entries.withLock { $0 } }
        func add(_ entry: String) { self.entries.withLock { $0.append(entry) } }
        func open(_ gate: String) { self.gates.withLock { _ = $0.insert(gate) } }
        func isOpen(_ gate: String) -> Bool { self.gates.withLock { $0.contains(gate) } }
        /// Suspends a handler until the test lets it go.
        func pass(_ gate: String) async throws {
            try await waitUntil("gate \(gate)") { self.isOpen(gate) }
        }
    }

    private static func body(_ delivery: AMQPConsumer.Delivery) throws -> String {
        try delivery.decodeMessage().bodyString ?? "?"
    }

    /// Runs a consumer beside `body`, with the sender of the peer that feeds it.
    private func withConsumer(
        _ change: (inout AMQPConsumer.Configuration) -> Void = { _ in },
        handler: @escaping @Sendable (AMQPConsumer.Delivery) async throws -> Void,
        _ body: (AMQPConsumer, AMQPSender, ClientPeer, FaultProxy) async throws -> Void
    ) async throws {
        try await withClient { client, peer, proxy in
            var configuration = AMQPConsumer.Configuration(source: "q")
            configuration.retryDelay = .milliseconds(1)
            change(&configuration)
            let consumer = AMQPConsumer(client, configuration, handler: handler)
            let running = Task { try await consumer.run() }
            try await waitUntil("the link") { peer.senders.count == 1 }
            try await body(consumer, peer.senders[0], peer, proxy)
            await consumer.stop(within: .seconds(5))
            _ = try? await within("the end of the consumer") { try await running.value }
        }
    }

    @Test func aReturnAcceptsAndAnErrorGivesBackAndThenRejects() async throws {
        try await self.withConsumer { delivery in
            if try Self.body(delivery) != "good" { throw Failure() }
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
    func theConsumerCountsWhereThePeerDoesNot(_ hasID: Bool) async throws {
        let attempts = Mutex<[Int]>([])
        try await self.withConsumer { delivery in
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
            // Another one with that content begins anew.
            #expect(try await sender.send(message) == .modified(AMQPModified(deliveryFailed: true)))
            #expect(attempts.withLock { $0 } == [1, 2, 3, 1])
        }
    }

    @Test func noMoreHandlersRunAndNoMoreMessagesComeThanAsked() async throws {
        let log = Log()
        let running = Mutex((now: 0, most: 0))
        try await self.withConsumer {
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
            // The peer holds the others: handlers that take long fetch nothing ahead.
            #expect(sender.credit == 0 && consumer.result.received == 4)
            log.open("all")
            for tracker in trackers { #expect(try await tracker.outcome() == .accepted) }
            #expect(running.withLock { $0.most } == 4)
            let result = await consumer.stop()
            #expect(result.accepted == 50 && result.received == 50)
        }
    }

    @Test func theHandlerMayDecideItself() async throws {
        try await self.withConsumer { delivery in
            switch try Self.body(delivery) {
            case "accept": delivery.accept()
            case "reject": delivery.reject(AMQPError(condition: .notAllowed))
            case "release": delivery.release()
            default: delivery.modify(AMQPModified(undeliverableHere: true))
            }
            #expect(delivery.accept() == .stale)
            throw Failure()
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
        let log = Log()
        try await self.withConsumer {
            $0.timeout = .milliseconds(50)
        } handler: { delivery in
            let body = try Self.body(delivery)
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
        let log = Log()
        try await self.withConsumer {
            $0.order = .byGroupID
            $0.concurrency = 8
        } handler: { delivery in
            let message = try delivery.decodeMessage()
            let name = "\(message.properties.groupID ?? "")\(message.bodyString ?? "")"
            log.add("\(name).\(delivery.attempt)")
            // The first message of a fails for good, the second of b once.
            if name == "a0" || name == "b1" && delivery.attempt == 1 { throw Failure() }
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
    func aBrokerThatIsNotOursWorksToo(_ broker: ProtonExample) async throws {
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
                let result = try await running.value
                #expect(result.received == 200 && result.handled == 200 && result.stale == 0, "\(result)")
            }
        }
    }

    @Test func poisonousMessagesStopNothingElse() async throws {
        try await self.withConsumer {
            $0.concurrency = 2
            $0.timeout = .milliseconds(20)
        } handler: { delivery in
            let body = try Self.body(delivery)
            if body.hasPrefix("bad") { throw Failure() }
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

    // MARK: Stopping

    @Test func aStopWaitsForHandlersAndGivesTheRestBack() async throws {
        let log = Log()
        try await self.withConsumer {
            $0.concurrency = 2
            $0.prefetch = .messages(3)
        } handler: { delivery in
            let body = try Self.body(delivery)
            log.add(body)
            try await log.pass(body)
        } _: { consumer, sender, peer, _ in
            let trackers = try await (0..<10).asyncMap {
                try await sender.enqueue(AMQPMessage(body: "\($0)"))
            }
            try await waitUntil("five messages") { sender.credit == 0 && log.all.count == 2 }
            let stopping = Task { await consumer.stop(within: .seconds(30)) }
            // What was fetched ahead goes back at once, and the peer gets no further credit.
            for tracker in trackers[2..<5] { #expect(try await tracker.outcome() == .released) }
            #expect(trackers[0].result == nil && trackers[1].result == nil && trackers[5].result == nil)
            log.open("0")
            log.open("1")
            for tracker in trackers[0..<2] { #expect(try await tracker.outcome() == .accepted) }
            let result = try await within("the stop") { await stopping.value }
            #expect(
                result.received == 5 && result.accepted == 2 && result.released == 3
                    && result.unfinished == 0
            )
            #expect(result.settlementsNotWritten == 0 && result.settlementsInDoubt == 0)
            try await within("the end of the link") { try? await sender.waitUntilClosed() }
            #expect(Set(log.all) == ["0", "1"])
        }
    }

    @Test func handlersAreCancelledBeforeTheLimitAndTheirMessagesReleased() async throws {
        let (log, gate) = (Log(), Log())
        try await self.withConsumer {
            $0.concurrency = 3
        } handler: { delivery in
            switch try Self.body(delivery) {
            case "obeys": try await log.pass("never")
            case "finishes":
                try? await log.pass("never")
            default:
                // A handler that takes no notice.
                await Task { try? await gate.pass("end") }.value
            }
        } _: { consumer, sender, _, _ in
            var trackers: [AMQPTracker] = []
            for body in ["obeys", "finishes", "hangs"] {
                trackers.append(try await sender.enqueue(AMQPMessage(body: body)))
            }
            try await waitUntil("three handlers") { consumer.result.handled == 3 }
            let start = ContinuousClock.now
            let result = await consumer.stop(within: .milliseconds(500))
            #expect(ContinuousClock.now - start < .seconds(10))
            #expect(
                result.accepted == 1 && result.released == 2 && result.unfinished == 1 && result.threw == 0
            )
            #expect(try await trackers[0].outcome() == .released)
            #expect(try await trackers[1].outcome() == .accepted)
            #expect(try await trackers[2].outcome() == .released)
            gate.open("end")
            try await waitUntil("the last handler") { consumer.result.unfinished == 0 }
        }
    }

    @Test func cancellationStopsInOrderAndReturnsTheNumbers() async throws {
        try await withClient { client, peer, _ in
            let log = Log()
            let consuming = Task {
                try await client.consume(from: "q", concurrency: 1) { _ in
                    log.add("begun")
                    try await log.pass("end")
                    #expect(!Task.isCancelled)
                }
            }
            try await waitUntil("the link") { peer.senders.count == 1 }
            let tracker = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { log.all.count == 1 }
            consuming.cancel()
            log.open("end")
            let result = try await within("the end") { try await consuming.value }
            #expect(result.accepted == 1 && result.received == 1)
            #expect(try await tracker.outcome() == .accepted)
        }
    }

    @Test func theCloseOfTheClientEndsTheConsumer() async throws {
        try await withClient { client, peer, _ in
            let log = Log()
            let consuming = Task {
                try await client.consume(from: "q") { _ in
                    log.add("begun")
                    try await log.pass("end")
                }
            }
            try await waitUntil("the link") { peer.senders.count == 1 }
            let tracker = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { log.all.count == 1 }
            let closing = Task { await client.close(within: .seconds(30)) }
            try await waitUntil("the close") { client.state == .closing }
            log.open("end")
            #expect(try await tracker.outcome() == .accepted)
            #expect(try await within("the close") { await closing.value }.isComplete)
            #expect(try await within("the end") { try await consuming.value }.accepted == 1)
        }
    }

    @Test func aRefusedLinkThrows() async throws {
        try await withClient { client, peer, _ in
            peer.refuse("q", AMQPError(condition: .notFound))
            let consumer = AMQPConsumer(client, .init(source: "q")) { _ in }
            let error = try await failure(of: "consuming") { try await consumer.run() }
            #expect(error.condition == .notFound)
            let again = try await failure(of: "running again") { try await consumer.run() }
            #expect(again.condition == .invalidArgument)
            #expect(await consumer.stop().received == 0)
        }
    }

    @Test func wrongSettingsThrow() async throws {
        let client = AMQPClient(url: "amqp://127.0.0.1:1")
        let changes: [@Sendable (inout AMQPConsumer.Configuration) -> Void] = [
            { $0.concurrency = 0 }, { $0.attempts = 0 }, { $0.timeout = .zero }, { $0.waitingLimit = 0 },
            { $0.retryDelay = .seconds(-1) },
        ]
        for change in changes {
            var configuration = AMQPConsumer.Configuration(source: "q")
            change(&configuration)
            let error = try await failure(of: "consuming") { [configuration] in
                try await client.consume(configuration) { _ in }
            }
            #expect(error.condition == .invalidArgument)
        }
        // A consumer that is stopped before its time does nothing.
        let consumer = AMQPConsumer(client, .init(source: "q")) { _ in }
        #expect(await consumer.stop().received == 0)
        #expect(try await consumer.run().received == 0 && client.state == .idle)
    }

    @Test func aStopDuringAnOutageEnds() async throws {
        try await self.withConsumer { _ in
        } _: { consumer, sender, _, proxy in
            #expect(try await sender.send(AMQPMessage(body: "m")) == .accepted)
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.error != nil }
            let result = try await within("the stop") { await consumer.stop(within: .seconds(30)) }
            #expect(result.accepted == 1)
        }
    }

    @Test func aPeerThatFallsSilentDoesNotOutlastTheLimit() async throws {
        let log = Log()
        try await self.withConsumer { _ in
            log.add("begun")
            try await log.pass("end")
        } _: { consumer, sender, _, proxy in
            _ = try await sender.enqueue(AMQPMessage(body: "m"))
            try await waitUntil("the handler") { log.all.count == 1 }
            for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) }
            log.open("end")
            let start = ContinuousClock.now
            let result = try await within("the stop") { await consumer.stop(within: .seconds(2)) }
            let time = ContinuousClock.now - start
            #expect(time < .seconds(5), "\(time)")
            // The decision may have been written, but no one knows whether it was read.
            #expect(result.accepted == 1 && result.inProgress == 0)
            #expect(result.settlementsInDoubt + result.settlementsNotWritten == 1, "\(result)")
        }
    }

    // MARK: Losses

    @Test func handlersGoOnThroughALossAndConsumingToo() async throws {
        let log = Log()
        try await self.withConsumer {
            $0.concurrency = 2
        } handler: { delivery in
            let body = try Self.body(delivery)
            log.add(body)
            if body == "old" { try await log.pass("old") }
            log.add("end of \(body)")
        } _: { consumer, sender, peer, proxy in
            let old = try await sender.enqueue(AMQPMessage(body: "old"))
            try await waitUntil("the handler") { log.all == ["old"] }
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 }
            #expect(try await peer.senders[1].send(AMQPMessage(body: "new")) == .accepted)
            log.open("old")
            try await waitUntil("the stale decision") { consumer.result.stale == 1 }
            #expect(log.all.last == "end of old")
            let error = try await failure(of: "the old message") { try await old.outcome() }
            #expect(error.fate == .inDoubt)
            // Its place is free again: both handlers run.
            try await waitUntil("credit") { peer.senders[1].credit >= 1 }
            #expect(try await peer.senders[1].send(AMQPMessage(body: "old2")) == .accepted)
            let result = await consumer.stop()
            #expect(
                result.received == 3 && result.accepted == 2 && result.stale == 1 && result.handled == 3
            )
        }
    }

    @Test func waitingMessagesOfALostLinkAreNotHandledTwice() async throws {
        let log = Log()
        try await self.withConsumer {
            $0.order = .by { _ in "one key" }
            $0.prefetch = .messages(10)
        } handler: { delivery in
            let body = try Self.body(delivery)
            log.add(body)
            if body == "0" { try await log.pass("0") }
        } _: { consumer, sender, peer, proxy in
            for number in 0..<5 { _ = try await sender.enqueue(AMQPMessage(body: "\(number)")) }
            try await waitUntil("the messages") { consumer.result.received == 5 }
            proxy.end(.reset, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 }
            var trackers: [AMQPTracker] = []
            for number in 10..<15 {
                trackers.append(try await peer.senders[1].enqueue(AMQPMessage(body: "\(number)")))
            }
            log.open("0")
            for tracker in trackers { #expect(try await tracker.outcome() == .accepted) }
            #expect(log.all == ["0", "10", "11", "12", "13", "14"])
            let result = await consumer.stop()
            #expect(result.stale == 5 && result.accepted == 5 && result.received == 10)
        }
    }

    @Test func manyLossesLeaveNothingBehind() async throws {
        let handled = Mutex<[String: Int]>([:])
        try await self.withConsumer {
            $0.concurrency = 4
        } handler: { delivery in
            let body = try Self.body(delivery)
            let count = handled.withLock { handled -> Int in
                handled[body, default: 0] += 1
                return handled[body] ?? 0
            }
            if count == 1, body.hasSuffix("3") { throw Failure() }
        } _: { consumer, _, peer, proxy in
            var todo = Set((0..<400).map { "\($0)" })
            var round = 0
            while !todo.isEmpty {
                try await waitUntil("link \(round)") { peer.senders.count == round + 1 }
                let sender = peer.senders[round]
                var trackers: [(String, AMQPTracker)] = []
                for body in todo.sorted().prefix(60) {
                    guard let tracker = try? await sender.enqueue(AMQPMessage(body: body)) else { break }
                    trackers.append((body, tracker))
                }
                let isLast = round == 12
                if !isLast {
                    // The first twelve links are cut at different moments of their work.
                    try await Task.sleep(for: .milliseconds(round))
                    proxy.end(round % 2 == 0 ? .cut : .reset, .toServer)
                    round += 1
                }
                for (body, tracker) in trackers where (try? await tracker.outcome()) == .accepted {
                    todo.remove(body)
                }
            }
            #expect(handled.withLock { $0.count } == 400)
            let result = await consumer.stop()
            let fates = result.accepted + result.failed + result.stale + result.released
            #expect(
                result.received == fates && result.inProgress == 0 && result.rejected == 0,
                "\(result)"
            )
        }
    }
}

extension Sequence {
    fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows
        -> [Value]
    {
        var values: [Value] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}
