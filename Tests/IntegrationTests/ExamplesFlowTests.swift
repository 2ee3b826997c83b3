// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// The sender and the receiver at their limits, and their reports about them.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesFlowTests {
    /// Runs a listening receiver and a sender to it, and waits for both.
    private func exchange(
        _ receiving: [String],
        _ sending: [String],
        senderStatus: Int32 = 0
    ) async throws -> (sender: ExampleProcess, receiver: ExampleProcess) {
        let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--json"] + receiving)
        let port = try await receiver.port()
        let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--json"] + sending)
        #expect(try await sender.waitForExit() == senderStatus, "\(sender.errorLines)")
        try await receiver.succeed()
        return (sender, receiver)
    }

    // MARK: Rates

    @Test func aSendersRateIsObserved() async throws {
        let (sender, receiver) = try await self.exchange([], ["--count", "200", "--rate", "100"])
        #expect(try sender.number("seconds") >= 1.5)
        #expect(try receiver.json()["messages"] == 200)
        let blocked = try sender.blockedSeconds()
        #expect(try #require(blocked["rate"]) >= 1, "\(blocked)")
    }

    @Test(arguments: [[], ["--count", "200"]])
    func aReceiversRateIsObserved(_ options: [String]) async throws {
        let (sender, receiver) = try await self.exchange(options + ["--rate", "100"], ["--count", "200"])
        #expect(try receiver.number("seconds") >= 1.5)
        #expect(try sender.json()["accepted"] == 200)
        #expect(try #require(sender.blockedSeconds()["credit"]) >= 1)
    }

    @Test(arguments: [true, false])
    func aRateInBytesIsObserved(_ isOfSender: Bool) async throws {
        // 100,000 bytes may pass at once, or in a tenth of a second.
        let rate = ["--byte-rate", "1M"]
        let load = ["--count", "2000", "--size", "1000"]
        let (sender, receiver) = try await self.exchange(isOfSender ? [] : rate, load + (isOfSender ? rate : []))
        #expect(try (isOfSender ? sender : receiver).number("seconds") >= 1)
        #expect(try receiver.json()["bytes"] == 2_000_000)
    }

    /// A sender that its own rate limit delays is not at a standstill.
    @Test func aRateIsNoStandstill() async throws {
        let (sender, _) = try await self.exchange([], ["--count", "4", "--rate", "1", "--timeout", "0.3"])
        #expect(try sender.json()["accepted"] == 4)
        #expect(sender.errorLines.isEmpty, "\(sender.errorLines)")
    }

    // MARK: Overflow

    private static let slow = ["--window", "1", "--handler-delay", "20"]
    private static let load = ["--count", "2000", "--size", "1000", "--limit", "16K", "--priority", "9"]

    @Test(arguments: ["drop-newest", "drop-oldest"])
    func messagesWithoutRoomAreDropped(_ policy: String) async throws {
        let (sender, receiver) = try await self.exchange(
            Self.slow + ["--output", "/dev/null"],
            Self.load + ["--overflow", policy]
        )
        let sent = try sender.json()
        let (accepted, dropped) = (try #require(sent["accepted"]), try #require(sent["dropped"]))
        #expect(dropped > 0)
        #expect(accepted + dropped == 2_000)
        #expect(try #require(sent["outgoing_bytes_peak"]) <= 16_384)
        #expect(try receiver.json()["messages"] == accepted)
        #expect(sender.errorLines.count == 1)
        #expect(sender.errorLines.first?.hasPrefix("sender: dropped \(dropped) of 2000 messages") == true)
    }

    @Test func theOverflowPolicyKeepsTheOldestOrNewestMessages() async throws {
        try await withFolder { folder in
            let lines = (1...3_000).map { "line \($0)" }
            let input = folder.appendingPathComponent("in")
            try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: input)
            for (policy, last) in [("drop-newest", false), ("drop-oldest", true)] {
                let output = folder.appendingPathComponent(policy)
                _ = try await self.exchange(
                    Self.slow + ["--output", output.path],
                    ["--file", input.path, "--limit", "1K", "--overflow", policy]
                )
                let received = try String(contentsOf: output, encoding: .utf8).split(separator: "\n").map(String.init)
                #expect(received.count < lines.count)
                #expect(received == received.sorted { $0.count == $1.count ? $0 < $1 : $0.count < $1.count })
                #expect((received.last == lines.last) == last, "\(policy): \(received.last ?? "nothing")")
            }
        }
    }

    @Test func messagesWithoutRoomAreRefused() async throws {
        let (sender, receiver) = try await self.exchange(
            Self.slow,
            Self.load + ["--overflow", "fail"],
            senderStatus: 1
        )
        let sent = try sender.json()
        let (accepted, refused) = (try #require(sent["accepted"]), try #require(sent["refused"]))
        #expect(refused > 0 && accepted + refused == 2_000)
        #expect(sent["dropped"] == 0)
        #expect(try receiver.json()["messages"] == accepted)
        #expect(sender.errorLines.count == 1)
        #expect(sender.errorLines.first?.contains("the session's send limit is full") == true, "\(sender.errorLines)")
    }

    // MARK: Windows

    @Test(arguments: [
        ["--window", "auto"], ["--window", "auto", "--budget", "64K"], ["--budget", "1M"], ["--window", "on-demand"],
        ["--window", "unbounded"], ["--window", "5"], ["--credit", "5"], ["--window", "64K"],
        ["--window", "1M", "--incoming-capacity", "1M"],
    ])
    func everyWindowDeliversAllMessages(_ window: [String]) async throws {
        for end in [[], ["--count", "500"], ["--count", "500", "--idle-timeout", "20"]] {
            let (sender, receiver) = try await self.exchange(
                window + end + ["--verify-sequence"],
                ["--count", "500", "--size", "1000"]
            )
            #expect(try sender.json()["accepted"] == 500)
            #expect(try receiver.json()["messages"] == 500)
            #expect(try receiver.json()["missing"] == 0)
            if window == ["--window", "64K"] { #expect(try receiver.number("buffered_bytes_peak") <= 65_536) }
        }
    }

    /// Messages beyond the count are released, and can be received again.
    @Test func aCountLeavesFurtherMessagesInTheQueue() async throws {
        try await withBroker { _, url in
            try await ExampleProcess("sender", ["\(url)/q", "--count", "300"]).succeed()
            let first = try ExampleProcess("receiver", ["\(url)/q", "--count", "100", "--window", "auto", "--json"])
            #expect(try await first.succeed().json()["messages"] == 100)
            let rest = try ExampleProcess("receiver", ["\(url)/q", "--count", "200", "--window", "auto", "--json"])
            #expect(try await rest.succeed().json()["messages"] == 200)
        }
    }

    // MARK: Reports

    @Test func theCausesOfWaitsAreReported() async throws {
        let (sender, receiver) = try await self.exchange(Self.slow, ["--count", "20"])
        for (process, cause) in [(sender, "credit"), (receiver, "application")] {
            let blocked = try process.blockedSeconds()
            #expect(try #require(blocked[cause]) >= 0.2, "\(process.name): \(blocked)")
            #expect(blocked.values.reduce(0, +) <= (try sender.number("seconds")), "\(process.name): \(blocked)")
        }
    }

    @Test func aStallIsLoggedAsAWarning() async throws {
        let options = ["--window", "1", "--stall-warning", "1", "--handler-delay", "3000"]
        let (sender, receiver) = try await self.exchange(options, ["--count", "2", "--stall-warning", "1"])
        let start = "sender: warning: a link with pending work makes no progress: "
        #expect(sender.errorLines.count { $0.hasPrefix(start) && $0.contains("granted no credit") } >= 1)
        #expect(receiver.errorLines.contains { $0.hasPrefix("receiver: warning:") && $0.contains("unsettled") })
        let (quiet, _) = try await self.exchange(
            ["--window", "1", "--stall-warning", "0", "--handler-delay", "1500"],
            ["--count", "2", "--stall-warning", "0"]
        )
        #expect(quiet.errorLines.isEmpty, "\(quiet.errorLines)")
    }

    @Test func theProgressNamesTheLimitAndTheCause() async throws {
        let (sender, receiver) = try await self.exchange(
            ["--window", "1", "--handler-delay", "1500", "--progress"],
            ["--count", "3", "--progress"]
        )
        #expect(
            sender.errorLines.contains {
                $0.hasPrefix("1 of 3 settled, 33 %, ") && $0.contains(" left, ")
                    && $0.contains(" of 1 MiB, credit 0, peer's window ")
                    && $0.contains("waiting: the peer granted no credit ")
            },
            "\(sender.errorLines)"
        )
        #expect(sender.errorLines.allSatisfy { !$0.contains("[") }, "a limit's fill has no bar")
        #expect(receiver.errorLines.contains { $0.contains("unsettled 1, waiting: the application") })
    }

    @Test(arguments: [UInt16(40), 60, 200])
    func theStatusLineFitsTheTerminal(_ columns: UInt16) async throws {
        let receiver = try ExampleProcess(
            "receiver",
            ["127.0.0.1:0/q", "--listen", "--window", "1", "--handler-delay", "700"]
        )
        let port = try await receiver.port()
        let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--count", "3"], terminalWidth: columns)
        try await sender.succeed()
        try await receiver.succeed()
        var lines = sender.errors.components(separatedBy: "\r").map { $0.replacing("\u{1B}[K", with: "") }
        let summary = try #require(lines.last).replacing("\r\n", with: "")
        lines.removeLast()
        #expect(summary.hasPrefix("sender: 3 of 3 messages accepted, 300 B in "), "\(lines)")
        #expect(sender.errors.contains("\r\u{1B}[K" + summary), "the line is cleared at the end")
        #expect(
            lines.contains { $0.contains("waiting: ") || (columns == 40 && $0.hasPrefix("1 of 3 settled")) },
            "\(lines)"
        )
        #expect(lines.contains { $0.hasPrefix("2 of 3 settled, 66 %") }, "\(lines)")
        for line in lines { #expect(line.count < columns && !line.contains("\n"), "\(line)") }
    }

    /// The reported rate counts messages that have left, so it exceeds the limit by no more than the burst.
    @Test func theReportedRateMatchesTheOption() async throws {
        let (sender, receiver) = try await self.exchange(
            ["--progress"],
            ["--count", "3000", "--rate", "1000", "--progress"]
        )
        for process in [sender, receiver] {
            let rates = process.errorLines.compactMap { line in
                line.firstMatch(of: /, ([\d,]+)\/s/).flatMap { Int($0.output.1.replacing(",", with: "")) }
            }
            #expect(rates.count >= 2, "\(process.errorLines)")
            #expect(rates.allSatisfy { $0 <= 1_085 }, "\(rates)")
        }
    }

    @Test func aStreamShowsItsShareOfTheFile() async throws {
        try await withFolder { folder in
            let file = folder.appendingPathComponent("in")
            try Data(count: 3_000_000).write(to: file)
            let (sender, _) = try await self.exchangeStream(["--stream", file.path, "--byte-rate", "1M", "--progress"])
            #expect(sender.errorLines.contains { $0.contains(" of 2.9 MiB sent, ") && $0.contains(" s left, ") })
        }
    }

    private func exchangeStream(
        _ sending: [String]
    ) async throws -> (sender: ExampleProcess, receiver: ExampleProcess) {
        let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--stream", "-"])
        let sender = try await ExampleProcess("sender", ["127.0.0.1:\(receiver.port())/q"] + sending)
        try await sender.succeed()
        try await receiver.succeed()
        return (sender, receiver)
    }

    // MARK: Values

    @Test func badValuesAreOneLine() async throws {
        let sending = [
            ["--rate", "0"], ["--rate", "fast"], ["--byte-rate", "0"], ["--priority", "10"], ["--overflow", "x"],
            ["--stall-warning", "0.001"], ["--limit", "0"],
        ]
        let receiving = [
            ["--window", "0"], ["--window", "1X"], ["--window", "0K"], ["--window", "5", "--credit", "5"],
            ["--budget", "1M", "--window", "5"], ["--budget", "1M", "--credit", "5"], ["--budget", "0"],
            ["--handler-delay", "x"], ["--stream", "-", "--window", "5"], ["--rate", "0.1", "--idle-timeout", "2"],
            ["--incoming-capacity", "1"], ["--capacity", "1"], ["--stall-warning", "x"],
        ]
        let calls =
            sending.map { ("sender", ["--count", "1"] + $0) } + receiving.map { ("receiver", $0) } + [
                ("sender", ["--stream", "/dev/null", "--overflow", "fail"])
            ]
        for (name, arguments) in calls {
            let process = try ExampleProcess(name, ["localhost/q"] + arguments)
            #expect(try await process.waitForExit() == 64, "\(name) \(arguments)")
            #expect(process.errorLines.count == 1, "\(process.errorLines)")
        }
    }
}
