// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// The guarantees of the broker.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesBrokerTests {
    @Test func aKilledConsumersMessagesReturnInOrder() async throws {
        try await withBroker { broker, url in
            try await withFolder { folder in
                let count = 2_000
                let options = ["--count", "\(count)", "--size", "1000"]
                try await ExampleProcess("sender", ["\(url)/q"] + options).succeed()
                // The full stdout blocks the receiver, so that it cannot have received everything when it is killed.
                let killed = try ExampleProcess("receiver", ["\(url)/q", "--output", "-"], outputLimit: 100_000)
                _ = try await lookUntil("the receiver has written") {
                    killed.output.utf8.count >= 100_000 ? true : nil
                }
                killed.signal(SIGKILL)
                #expect(try await killed.waitForExit() == -SIGKILL)
                let file = folder.appendingPathComponent("rest")
                let rest = ["--idle-timeout", "1", "--output", file.path, "--json"]
                try await ExampleProcess("receiver", ["\(url)/q"] + rest).succeed()
                let first = Self.numbers(killed.output)
                let second = try Self.numbers(String(contentsOf: file, encoding: .utf8))
                #expect(first.prefix(100) == ArraySlice(1...100))
                // The messages that were not accepted arrive again in order, and none is missing.
                let start = try #require(second.first)
                #expect(second == Array(start...count))
                #expect(start <= (first.last ?? 0) + 1 + 256)
                broker.signal(SIGUSR1)
                let counters = try await lookUntil("the broker tells its counters") {
                    broker.output.isEmpty ? nil : try broker.json()
                }
                #expect(counters["accepted"] == count)
                #expect(try #require(counters["returned"]) > 0)
                #expect(counters["queued"] == 0)
            }
        }
    }

    private static func numbers(_ text: String) -> [Int] {
        text.split(separator: "\n").compactMap { line in line.utf8.count == 1_000 ? Int(line.prefix(20)) : nil }
    }

    @Test func aFullQueueBlocksOnlyItsOwnSenders() async throws {
        try await withBroker(["--max-queue-bytes", "100000"]) { broker, url in
            let load = ["--count", "1000", "--size", "1000", "--json"]
            let held = try ExampleProcess("sender", ["\(url)/full"] + load)
            let counters = { () -> [String: Int] in
                let before = broker.output.utf8.count
                broker.signal(SIGUSR1)
                return try await lookUntil("the broker tells its counters") {
                    broker.output.utf8.count > before && broker.output.hasSuffix("\n") ? try broker.json() : nil
                }
            }
            var queued = 0
            while queued < 90 { queued = try #require(try await counters()["queued"]) }
            let other = try ExampleProcess("receiver", ["\(url)/other", "--count", "300", "--verify-sequence"])
            try await ExampleProcess("sender", ["\(url)/other", "--count", "300", "--size", "1000"]).succeed()
            try await other.succeed()
            #expect(try #require(try await counters()["queued"]) < 100)
            let receiver = try ExampleProcess("receiver", ["\(url)/full", "--count", "1000", "--verify-sequence"])
            try await receiver.succeed()
            #expect(try await held.succeed().json()["accepted"] == 1_000)
            let end = try await counters()
            #expect(end["received"] == 1_300)
            #expect(end["queued_bytes"] == 0)
            let peak = try #require(end["queue_bytes_peak"])
            #expect(peak <= 100_000 && peak > 90_000)
        }
    }

    @Test func aMessageLargerThanTheQueuePassesAlone() async throws {
        try await withBroker(["--max-queue-bytes", "1000"]) { _, url in
            let sender = try ExampleProcess("sender", ["\(url)/q", "--count", "5", "--size", "3000"])
            try await ExampleProcess("receiver", ["\(url)/q", "--count", "5", "--verify-sequence"]).succeed()
            try await sender.succeed()
        }
    }

    @Test func largeMessagesAreRejected() async throws {
        try await withBroker(["--reject-above", "1K"]) { broker, url in
            let sender = try ExampleProcess("sender", ["\(url)/q", "--count", "3", "--size", "5000", "--json"])
            #expect(try await sender.waitForExit() == 1)
            let report = try sender.json()
            #expect(report["rejected"] == 3)
            #expect(report["accepted"] == 0)
            #expect(sender.errorLines.count == 1)
            #expect(sender.errorLines.first?.contains("amqp:resource-limit-exceeded") == true)
            try await ExampleProcess("sender", ["\(url)/q", "--count", "3", "--size", "500"]).succeed()
        }
    }

    @Test func unusablePartsOfTheListenURLAreRefused() async throws {
        let calls = [
            ("amqps://127.0.0.1:0", "--tls-cert"), ("amqp://ann:pw@127.0.0.1:0", "--users"),
            ("amqp://ann@127.0.0.1:0", "--users"), ("127.0.0.1:0/q", "address"), ("127.0.0.1:99999", "65535"),
        ]
        for (place, word) in calls {
            let broker = try ExampleProcess("broker", ["--listen", place])
            #expect(try await broker.waitForExit() == 64, "\(place)")
            #expect(broker.errorLines.count == 1 && broker.errors.contains(word), "\(broker.errorLines)")
        }
        let files = try TestCertificates.files()
        let tls = ["--tls-cert", files.path("server.pem"), "--tls-key", files.path("server.key")]
        let broker = try ExampleProcess("broker", ["--listen", "amqps://127.0.0.1:0"] + tls)
        let url = "amqps://localhost:\(try await broker.port())/q"
        try await ExampleProcess("sender", [url, "--body", "x", "--ca", files.path("ca.pem")]).succeed()
        broker.signal(SIGTERM)
        try await broker.succeed()
    }

    @Test func usersMustLogIn() async throws {
        try await withFolder { folder in
            func file(_ name: String, _ text: String) throws -> String {
                let file = folder.appendingPathComponent(name)
                try Data(text.utf8).write(to: file)
                return file.path
            }
            let users = try file("users", "ann:s3cret:with colon\nbob:x\n")
            let (right, wrong) = try (file("right", "s3cret:with colon\n"), file("wrong", "guess\n"))
            try await withBroker(["--users", users]) { _, url in
                let login = ["\(url)/q", "--body", "x", "--user", "ann", "--password-file"]
                try await ExampleProcess("sender", login + [right]).succeed()
                let ann = url.replacingOccurrences(of: "amqp://", with: "amqp://ann@")
                try await ExampleProcess("sender", ["\(ann)/q", "--body", "x", "--password-file", right]).succeed()
                let inURL = url.replacingOccurrences(of: "amqp://", with: "amqp://bob:x@")
                try await ExampleProcess("receiver", ["\(inURL)/q", "--count", "1"]).succeed()
                for arguments in [login + [wrong], ["\(url)/q", "--body", "x"]] {
                    let refused = try ExampleProcess("sender", arguments)
                    #expect(try await refused.waitForExit() == 1)
                    #expect(refused.errorLines.count == 1)
                    let line = refused.errorLines.joined()
                    #expect(line.contains("amqp:unauthorized-access") || line.contains("mechanism"), "\(line)")
                    #expect(!line.contains("guess"))
                }
            }
        }
    }

    @Test func namesAreComparedByTheirBytes() async throws {
        // The composed and the decomposed text are displayed alike, and are equal in Swift.
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        try await withBroker { broker, url in
            try await AMQPConnection.withConnection(to: url) { connection in
                let session = try await connection.openSession()
                let receiver = try await session.openReceiver(from: composed)
                let other = try await session.openReceiver(from: decomposed)
                for (index, address) in [composed, decomposed].enumerated() {
                    var configuration = AMQPSender.Configuration(target: AMQPTarget(address: address))
                    // The session has two links, not the same link twice.
                    configuration.name = index == 0 ? composed : decomposed
                    let sender = try await session.openSender(configuration)
                    #expect(try await sender.send(AMQPMessage(body: "to \(index)")) == .accepted)
                }
                for (index, receiver) in [receiver, other].enumerated() {
                    let delivery = try #require(try await receiver.receive(timeout: .seconds(20)))
                    #expect(try delivery.decodeMessage().bodyString == "to \(index)")
                    delivery.accept()
                    #expect(try await receiver.receive(timeout: .milliseconds(1)) == nil)
                }
            }
            broker.signal(SIGUSR1)
            let counters = try await lookUntil("the broker prints its counters") {
                broker.output.hasSuffix("\n") ? try broker.json() : nil
            }
            #expect(counters["queues"] == 2)
        }
    }

    @Test func usersAndPasswordsAreComparedByTheirBytes() async throws {
        try await withFolder { folder in
            let users = folder.appendingPathComponent("users")
            try Data("caf\u{E9}:one\ncafe\u{301}:two\n".utf8).write(to: users)
            try await withBroker(["--users", users.path]) { _, url in
                var login = try AMQPURL(url)
                for (user, password) in [("caf\u{E9}", "one"), ("cafe\u{301}", "two")] {
                    (login.username, login.password) = (user, password)
                    try await AMQPConnection.connect(to: login).close()
                }
                (login.username, login.password) = ("caf\u{E9}", "two")
                await #expect(throws: AMQPError.self) { try await AMQPConnection.connect(to: login) }
            }
        }
    }

    @Test func theBrokerAppliesEveryOutcome() async throws {
        try await withBroker { _, url in
            try await ExampleProcess("sender", ["\(url)/q", "--count", "4"]).succeed()
            try await AMQPConnection.withConnection(to: url) { connection in
                let session = try await connection.openSession()
                let receiver = try await session.openReceiver(from: "q")
                var deliveries: [AMQPDelivery] = []
                for _ in 0..<4 { deliveries.append(try #require(try await receiver.next())) }
                // The first message stays undecided while the others are decided.
                deliveries[1].release()
                let released = try #require(try await receiver.next())
                #expect(try released.decodeMessage().properties.messageID == 2)
                #expect(try released.decodeMessage().header.deliveryCount == 0)
                deliveries[2].modify(AMQPModified(deliveryFailed: true, messageAnnotations: [.symbol("x-why"): "late"]))
                let failed = try #require(try await receiver.next())
                let message = try failed.decodeMessage()
                #expect(message.properties.messageID == 3)
                #expect(message.header.deliveryCount == 1)
                #expect(message.messageAnnotations[symbol: "x-why"]?.stringValue == "late")
                #expect(message.bodyBytes == (try deliveries[2].decodeMessage().bodyBytes))
                failed.modify(AMQPModified(deliveryFailed: true))
                let again = try #require(try await receiver.next())
                #expect(try again.decodeMessage().header.deliveryCount == 2)
                // The message is undeliverable here, so the broker sends it to another consumer.
                deliveries[3].modify(AMQPModified(undeliverableHere: true))
                let other = try await session.openReceiver(from: "q")
                let moved = try #require(try await other.next())
                #expect(try moved.decodeMessage().properties.messageID == 4)
                for delivery in [deliveries[0], released, again, moved] { delivery.accept() }
                try await receiver.close().check()
                #expect(try await other.receive(timeout: .milliseconds(1)) == nil)
            }
        }
    }

    @Test func consumersTakeTurns() async throws {
        try await withBroker { _, url in
            try await AMQPConnection.withConnection(to: url) { connection in
                let session = try await connection.openSession()
                var receivers: [AMQPReceiver] = []
                for _ in 0..<3 { receivers.append(try await session.openReceiver(from: "q", window: .messages(10))) }
                let sender = try await session.openSender(to: "q")
                // The broker has every receiver's credit once each receiver has had a message.
                var isReady = Array(repeating: false, count: 3)
                var onTheirWay = 0
                _ = try await lookUntil("every receiver has had a message, and none has one that would take its turn") {
                    for (index, receiver) in receivers.enumerated() {
                        while let delivery = receiver.poll() {
                            isReady[index] = true
                            onTheirWay -= 1
                            delivery.accept()
                        }
                    }
                    if isReady == [true, true, true] { return onTheirWay == 0 ? true : nil }
                    try sender.trySend(AMQPMessage(body: "first"))
                    onTheirWay += 1
                    return nil
                }
                for _ in 0..<6 { try await sender.send(AMQPMessage(body: "turn")) }
                for receiver in receivers {
                    var turns = 0
                    while turns < 2 {
                        let delivery = try #require(try await receiver.receive(timeout: .seconds(20)))
                        #expect(try delivery.decodeMessage().bodyString == "turn")
                        turns += 1
                        delivery.accept()
                    }
                }
            }
        }
    }

    @Test func dynamicNodesAndTheAnonymousTarget() async throws {
        try await withBroker { _, url in
            try await AMQPConnection.withConnection(to: url) { connection in
                let session = try await connection.openSession()
                let receiver = try await session.openReceiver(.init(source: .dynamic))
                let address = try #require(receiver.remoteSource.address)
                #expect(!address.isEmpty)
                let anonymous = try await session.openSender(to: nil)
                var message = AMQPMessage(body: "reply")
                guard case .rejected(let reason) = try await anonymous.send(message) else {
                    Issue.record("a message without 'to' was not rejected")
                    return
                }
                #expect(reason?.condition == .preconditionFailed)
                message.properties.to = address
                #expect(try await anonymous.send(message) == .accepted)
                let delivery = try #require(try await receiver.next())
                #expect(try delivery.decodeMessage().bodyString == "reply")
                delivery.accept()
                let sender = try await session.openSender(.init(target: .dynamic))
                let target = try #require(sender.remoteTarget.address)
                #expect(target != address)
                #expect(try await sender.send(AMQPMessage(body: "x")) == .accepted)
                let second = try await session.openReceiver(from: target)
                #expect(try await second.next()?.decodeMessage().bodyString == "x")
            }
        }
    }

    @Test func theReceiverFailsWhenTheBrokerEnds() async throws {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0"])
        try await withFolder { folder in
            let file = folder.appendingPathComponent("received")
            let url = try await "127.0.0.1:\(broker.port())/q"
            let receiver = try ExampleProcess("receiver", [url, "--output", file.path])
            try await ExampleProcess("sender", [url, "--body", "x"]).succeed()
            _ = try await lookUntil("the message is written") {
                (try? Data(contentsOf: file)) == Data("x\n".utf8) ? true : nil
            }
            broker.signal(SIGINT)
            try await broker.succeed()
            #expect(broker.errorLines.last?.hasPrefix("broker: 1 message received, 1 delivered, ") == true)
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines.count == 2)
            #expect(receiver.errorLines.first?.contains("the broker is shutting down") == true)
            #expect(receiver.errorLines.last?.hasPrefix("receiver: 1 message received, 1 B in") == true)
        }
    }

    @Test func payloadsAreRelayedUnchanged() async throws {
        try await withBroker { _, url in
            try await AMQPConnection.withConnection(to: url) { connection in
                let session = try await connection.openSession()
                let sections = ["a", "bc"].compactMap { AMQPMessage(body: Array($0.utf8)).bodyBytes }
                var message = AMQPMessage(body: .data(sections))
                message.footer = [.symbol("x-sum"): 1]
                message.deliveryAnnotations = [.symbol("x-hop"): "one"]
                message.header.durable = true
                let bytes = try message.encoded()
                let sender = try await session.openSender(to: "q")
                let transfer = try await sender.enqueue(encoded: bytes)
                #expect(try await transfer.outcome() == .accepted)
                let receiver = try await session.openReceiver(from: "q")
                #expect(try await receiver.next()?.payload == bytes)
            }
        }
    }
}
