// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// `sender` and `receiver` with `--reconnect`, against brokers that end and restart.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesReconnectTests {
    /// Starts a broker on a port that another broker had.
    private static func broker(at port: Int) async throws -> ExampleProcess {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:\(port)", "--json"])
        _ = try await broker.port()
        return broker
    }

    private static func counters(_ broker: ExampleProcess) async throws -> [String: Int] {
        let before = broker.output.utf8.count
        broker.signal(SIGUSR1)
        return try await lookUntil("the broker tells its counters") {
            broker.output.utf8.count > before && broker.output.hasSuffix("\n") ? try broker.json() : nil
        }
    }

    // MARK: Losses

    @Test func aSenderSurvivesTheEndOfItsBroker() async throws {
        let count = 3_000
        var broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0", "--json"])
        defer { broker.signal(SIGKILL) }
        let port = try await broker.port()
        let load = ["--count", "\(count)", "--rate", "1000", "--json", "--reconnect", "60"]
        let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q"] + load)
        for round in 1...2 {
            while try #require(try await Self.counters(broker)["received"]) < 200 {}
            broker.signal(SIGKILL)
            try await broker.waitForExit()
            let failures = { sender.errorLines.count { $0.hasPrefix("sender: attempt ") } }
            let before = failures()
            _ = try await lookUntil("the loss") { failures() > before ? true : nil }
            broker = try await Self.broker(at: port)
            _ = try await lookUntil("the recovery") {
                sender.errorLines.count { $0.contains("connected again") } == round ? true : nil
            }
        }
        try await sender.succeed()
        let report = try sender.json()
        #expect(report["accepted"] == count && report["losses"] == 2)
        #expect(try #require(report["failed_attempts"]) >= 2)
        // Each message in doubt was sent again, and no other message was.
        #expect(report["replayed"] == report["in_doubt_at_loss"])
        #expect(try sender.number("down_seconds") > 0)
        let lines = sender.errorLines
        let url = "amqp://127.0.0.1:\(port)"
        #expect(lines.first == "sender: connected to \(url)")
        #expect(lines.count { $0.hasPrefix("sender: connection lost") } == 2, "\(lines)")
        let again = /sender: connected again to \S+ after \d+\.\d s and \d+ attempts?(, \d+ messages? sent again)?/
        #expect(lines.count { $0.wholeMatch(of: again) != nil } == 2, "\(lines)")
        #expect(lines.contains { $0.hasPrefix("sender: attempt 1 at \(url) failed: ") }, "\(lines)")
    }

    /// The queue survives the cuts, so every message arrives.
    @Test func bothSidesSurviveCutsAndNothingIsLost() async throws {
        let count = 4_000
        try await withBroker { broker, url in
            try await FaultProxy.with(to: broker.port()) { proxy in
                let place = "127.0.0.1:\(proxy.port)/q"
                let sender = try ExampleProcess(
                    "sender",
                    [place, "--count", "\(count)", "--rate", "2000", "--json", "--reconnect"]
                )
                let receiver = try ExampleProcess(
                    "receiver",
                    ["--reconnect", place, "--verify-sequence", "--idle-timeout", "3", "--json"]
                )
                for _ in 0..<4 {
                    let before = try await Self.counters(broker)["received"] ?? 0
                    while try #require(try await Self.counters(broker)["received"]) < before + 300 {}
                    proxy.end(.cut, .toServer)
                }
                try await sender.succeed()
                try await receiver.succeed()
                let (sent, received) = (try sender.json(), try receiver.json())
                #expect(sent["accepted"] == count && sent["losses"] == 4, "\(sender.errorLines)")
                // The proxy may cut a connection while the receiver is between two connections.
                let losses = try #require(received["losses"])
                #expect(received["missing"] == 0 && (1...4).contains(losses), "\(receiver.errorLines)")
                // A message that arrived twice was in doubt at the sender, or the receiver did not settle it in time.
                let doubles = try #require(received["messages"]) - count
                #expect(doubles >= 0 && doubles <= (sent["replayed"] ?? 0) + 4 * 256, "\(received)")
                #expect(try await Self.counters(broker)["queued"] == 0)
            }
        }
    }

    @Test func aSenderConnectsToTheOtherURL() async throws {
        let brokers = [
            try ExampleProcess("broker", ["--listen", "127.0.0.1:0"]),
            try ExampleProcess("broker", ["--listen", "127.0.0.1:0"]),
        ]
        defer { for broker in brokers { broker.signal(SIGKILL) } }
        let ports = [try await brokers[0].port(), try await brokers[1].port()]
        let urls = ["127.0.0.1:\(ports[0])/q", "127.0.0.1:\(ports[1])"]
        let sender = try ExampleProcess("sender", urls + ["--count", "1500", "--rate", "1000", "--reconnect"])
        let receiver = try ExampleProcess("receiver", urls + ["--idle-timeout", "2", "--reconnect"])
        _ = try await lookUntil("both are connected") {
            sender.errors.contains("connected") && receiver.errors.contains("connected") ? true : nil
        }
        brokers[0].signal(SIGTERM)
        try await sender.succeed()
        try await receiver.succeed()
        for process in [sender, receiver] {
            let line = "\(process.name): connected again to amqp://127.0.0.1:\(ports[1]) after "
            #expect(process.errorLines.contains { $0.hasPrefix(line) }, "\(process.errorLines)")
        }
    }

    /// The file is read again from its beginning, and the partly received copy is dropped.
    @Test func aLargeFileThatIsCutArrivesComplete() async throws {
        try await withFolder { folder in
            let (source, copy) = (folder.appendingPathComponent("a"), folder.appendingPathComponent("b"))
            try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
            let bytes = Data((0..<8_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
            try bytes.write(to: source.appendingPathComponent("large"))
            try await withBroker { broker, url in
                try await FaultProxy.with(to: broker.port()) { proxy in
                    proxy.set(.with { $0.bytesPerSecond = 4_000_000 }, .toServer)
                    let place = "127.0.0.1:\(proxy.port)/q"
                    let sender = try ExampleProcess("sender", [place, "--directory", source.path, "--reconnect"])
                    try await waitUntil("a part") { (proxy.links.first?[.toServer].forwarded ?? 0) > 2_000_000 }
                    proxy.end(.cut, .toServer)
                    try await sender.succeed()
                    proxy.set(FaultPlan(), .toServer)
                    proxy.set(.with { $0.bytesPerSecond = 4_000_000 }, .toClient)
                    let links = proxy.links.count
                    let options = ["--directory", copy.path, "--count", "1", "--reconnect"]
                    let receiver = try ExampleProcess("receiver", [place] + options)
                    try await waitUntil("a part of the copy") {
                        proxy.links.count > links && (proxy.links.last?[.toClient].forwarded ?? 0) > 2_000_000
                    }
                    proxy.end(.cut, .toServer)
                    try await receiver.succeed()
                    #expect(try Data(contentsOf: copy.appendingPathComponent("large")) == bytes)
                    #expect(receiver.errorLines.contains { $0.hasPrefix("receiver: connected again") })
                }
            }
        }
    }

    // MARK: Ends

    @Test(arguments: [SIGINT, SIGTERM])
    func anInterruptEndsAnOutageInTime(_ number: Int32) async throws {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0"])
        defer { broker.signal(SIGKILL) }
        let url = try await "127.0.0.1:\(broker.port())/q"
        let sender = try ExampleProcess("sender", [url, "--count", "100000", "--rate", "500", "--reconnect"])
        let receiver = try ExampleProcess("receiver", [url, "--reconnect", "--progress"])
        _ = try await lookUntil("both are connected") {
            sender.errors.contains("connected") && receiver.errors.contains("buffered") ? true : nil
        }
        broker.signal(SIGKILL)
        for process in [sender, receiver] {
            _ = try await lookUntil("the outage") { process.errors.contains("attempt 2 ") ? true : nil }
            let start = ContinuousClock.now
            process.signal(number)
            #expect(try await process.waitForExit(20) == (process === sender ? 128 + number : 0))
            #expect(ContinuousClock.now - start < .seconds(12), "\(process.errorLines)")
        }
        let interrupted = /sender: interrupted: [\d,]+ of 100,000 messages accepted.*/
        #expect(sender.errorLines.last?.wholeMatch(of: interrupted) != nil, "\(sender.errorLines)")
    }

    /// The broker accepts bytes and answers nothing.
    @Test func anInterruptEndsAWaitForAFrozenBroker() async throws {
        try await withBroker { broker, url in
            let load = ["--count", "100000", "--rate", "500", "--reconnect", "--progress"]
            let sender = try ExampleProcess("sender", ["\(url)/q"] + load)
            _ = try await lookUntil("it sends") { sender.errors.contains("unsent") ? true : nil }
            broker.signal(SIGSTOP)
            defer { broker.signal(SIGCONT) }
            let start = ContinuousClock.now
            sender.signal(SIGINT)
            #expect(try await sender.waitForExit(20) == 130)
            #expect(ContinuousClock.now - start < .seconds(12), "\(sender.errorLines)")
        }
    }

    @Test func anOutageBeyondTheLimitIsAFailure() async throws {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0"])
        defer { broker.signal(SIGKILL) }
        let url = try await "127.0.0.1:\(broker.port())/q"
        let sender = try ExampleProcess("sender", [url, "--count", "100000", "--rate", "500", "--reconnect", "1"])
        let receiver = try ExampleProcess("receiver", [url, "--reconnect=1"])
        _ = try await lookUntil("both are connected") {
            sender.errors.contains("connected") && receiver.errors.contains("connected") ? true : nil
        }
        broker.signal(SIGKILL)
        for process in [sender, receiver] {
            #expect(try await process.waitForExit(20) == 1)
            #expect(process.errors.contains("within 1.0 second"), "\(process.errorLines)")
        }
        // The first connection has the same limit.
        let late = try ExampleProcess("sender", [url, "--body", "x", "--reconnect", "0.5"])
        #expect(try await late.waitForExit(20) == 1)
        #expect(late.errors.contains("sender: attempt 1 at amqp://"), "\(late.errorLines)")
    }

    @Test func aRefusalIsNotRetried() async throws {
        let refusal = AMQPError(scope: .link, condition: .unauthorizedAccess, detail: "not you")
        try await ExamplesPeer.with(refusal: refusal) { _ in
        } _: { port in
            let url = "127.0.0.1:\(port)/q"
            for arguments in [["sender", "--body", "x"], ["receiver"]] {
                let process = try ExampleProcess(arguments[0], [url, "--reconnect"] + arguments.dropFirst())
                #expect(try await process.waitForExit(20) == 1)
                #expect(process.errors.contains("amqp:unauthorized-access"), "\(process.errorLines)")
            }
        }
    }

    // MARK: Options

    @Test func anUnusableOptionIsNamed() async throws {
        let calls: [(name: String, arguments: [String], text: String)] = [
            ("sender", ["a/q", "b/q", "--body", "x"], "several URLs need --reconnect"),
            ("receiver", ["a/q", "b/q"], "several URLs need --reconnect"),
            (
                "sender", ["a/q", "--body", "x", "--reconnect", "0"],
                "--reconnect takes seconds, more than 0, or no number, and not '0'"
            ),
            (
                "sender", ["a/q", "--body", "x", "--reconnect", "-1"],
                "--reconnect takes seconds, more than 0, or no number, and not '-1'"
            ),
            ("receiver", ["a/q", "--reconnect=soon"], "and not 'soon'"),
            ("sender", ["a/q", "--stream", "-", "--reconnect"], "--reconnect cannot be used with --stream, because"),
            ("receiver", ["a/q", "--stream", "-", "--reconnect"], "--reconnect cannot be used with --stream"),
            ("receiver", ["a/q", "--listen", "--reconnect"], "--reconnect cannot be used with --stream or --listen"),
        ]
        for call in calls {
            let process = try ExampleProcess(call.name, call.arguments)
            #expect(try await process.waitForExit() == 64, "\(call.arguments)")
            #expect(process.errors.contains(call.text), "\(process.errorLines)")
        }
        let two = try ExampleProcess("sender", ["--reconnect", "127.0.0.1:1/q", "127.0.0.1:1/r", "--body", "x"])
        #expect(try await two.waitForExit() == 64)
        #expect(two.errorLines.first?.contains("several addresses, 'q' and 'r'") == true, "\(two.errorLines)")
    }
}
