// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

/// The executables when a standard descriptor is closed, full, or has no reader.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesOutputTests {
    /// Returns a port on which nothing listens.
    private func freePort() async throws -> Int {
        let listener = try await AMQPListener.bind(port: 0)
        let port = listener.port
        await listener.close()
        return port
    }

    /// Waits until a program that cannot print its port listens.
    private func waitUntilListening(_ port: Int) async throws {
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(30)
        while clock.now < deadline {
            if let connection = try? await AMQPConnection.connect(to: "127.0.0.1:\(port)") {
                return try await connection.close().check()
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("nothing listens at \(port)")
    }

    // MARK: Requested output that cannot be written

    @Test func aResultThatCannotBeWrittenIsAFailureOfOneLine() async throws {
        let receiver = try ExampleProcess(
            "receiver",
            ["127.0.0.1:0/q", "--listen", "--json"],
            redirections: ">/dev/full"
        )
        let url = "127.0.0.1:\(try await receiver.port())/q"
        let sender = try ExampleProcess("sender", [url, "--count", "5", "--json"], redirections: ">/dev/full")
        for process in [sender, receiver] {
            #expect(try await process.waitForExit() == 1)
            let failure = "\(process.name): cannot write stdout: No space left on device"
            #expect(process.errorLines.last == failure, "\(process.errorLines)")
        }
        #expect(sender.errorLines.count == 1)
    }

    @Test func aResultOnStderrThatCannotBeWrittenIsAFailure() async throws {
        try await withBroker { _, url in
            try await ExampleProcess("sender", ["\(url)/q", "--body", "x"]).succeed()
            let arguments = ["\(url)/q", "--count", "1", "--output", "-", "--json"]
            let receiver = try ExampleProcess("receiver", arguments, redirections: "2>/dev/full")
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.output == "x\n")
        }
    }

    @Test func countersThatCannotBeWrittenMakeTheBrokerFailAtItsEnd() async throws {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0", "--json"], redirections: ">/dev/full")
        let port = try await broker.port()
        broker.signal(SIGUSR1)
        let failure = "broker: cannot write stdout: No space left on device"
        _ = try await lookUntil("the broker reports it") { broker.errorLines.last == failure ? true : nil }
        try await ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--count", "5"]).succeed()
        broker.signal(SIGTERM)
        #expect(try await broker.waitForExit() == 1)
        #expect(broker.errorLines.filter { $0 == failure }.count == 2, "\(broker.errorLines)")
    }

    @Test(arguments: ["sender", "receiver", "broker", "demo"])
    func helpThatCannotBeWrittenIsAFailure(_ name: String) async throws {
        for (redirections, cause) in [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")] {
            let process = try ExampleProcess(name, ["--help"], redirections: redirections)
            #expect(try await process.waitForExit() == 1)
            #expect(process.errorLines == ["\(name): cannot write stdout: \(cause)"])
        }
        #expect(try await ExampleProcess(name, ["--help"]).succeed().output.contains("USAGE"))
    }

    @Test func theDemoFailsWhenItsTableCannotBeWritten() async throws {
        try await withFolder { folder in
            try Data("x".utf8).write(to: folder.appendingPathComponent("file"))
            for arguments in [[folder.path], [folder.path, "--json"]] {
                let demo = try ExampleProcess("demo", arguments, redirections: ">/dev/full")
                #expect(try await demo.waitForExit() == 1)
                #expect(demo.errorLines == ["demo: cannot write stdout: No space left on device"])
            }
        }
    }

    /// Another process can make a shared terminal or pipe non-blocking.
    @Test func aFullStdoutThatDoesNotBlockLosesNothing() async throws {
        try await withBroker { _, url in
            let load = ["--count", "2000", "--size", "1000"]
            try await ExampleProcess("sender", ["\(url)/q"] + load).succeed()
            let receiver = try ExampleProcess(
                "receiver",
                ["\(url)/q", "--count", "2000", "--output", "-"],
                isOutputBlocking: false
            )
            try await receiver.succeed()
            #expect(receiver.output.utf8.count == 2_000 * 1_001)
        }
    }

    // MARK: Informative output that cannot be written

    @Test(arguments: ["2>/dev/full", "2>&-", nil])
    func progressThatCannotBeWrittenIsIgnored(_ redirections: String?) async throws {
        let port = try await self.freePort()
        let broken = redirections == nil
        let receiver = try ExampleProcess(
            "receiver",
            ["127.0.0.1:\(port)/q", "--listen", "--json", "--progress"],
            redirections: redirections,
            readsErrors: !broken
        )
        try await self.waitUntilListening(port)
        let sender = try ExampleProcess(
            "sender",
            ["127.0.0.1:\(port)/q", "--count", "30", "--rate", "20", "--json", "--progress"],
            redirections: redirections,
            readsErrors: !broken
        )
        #expect(try await sender.succeed().json()["accepted"] == 30)
        #expect(try await receiver.succeed().json()["messages"] == 30)
    }

    @Test(arguments: ["2>/dev/full", "2>&-", nil])
    func theBrokerContinuesWithoutStderr(_ redirections: String?) async throws {
        let port = try await self.freePort()
        let broker = try ExampleProcess(
            "broker",
            ["--listen", "127.0.0.1:\(port)"],
            redirections: redirections,
            readsErrors: redirections != nil
        )
        try await self.waitUntilListening(port)
        for _ in 0..<3 { broker.signal(SIGUSR1) }
        try await ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--count", "5"]).succeed()
        broker.signal(SIGTERM)
        try await broker.succeed()
    }

    @Test func aFailureThatCannotBePrintedKeepsItsExitCode() async throws {
        for redirections in ["2>/dev/full", "2>&-"] {
            let process = try ExampleProcess("sender", ["localhost/q"], redirections: redirections)
            #expect(try await process.waitForExit() == 64)
        }
    }

    // MARK: Closed descriptors

    @Test func closedDescriptorsAreNotUsedForOtherFiles() async throws {
        let port = try await self.freePort()
        let receiver = try ExampleProcess(
            "receiver",
            ["127.0.0.1:\(port)/q", "--listen"],
            redirections: "<&- >&- 2>&-"
        )
        try await self.waitUntilListening(port)
        for number in Int32(0)...2 { #expect(receiver.descriptor(number) == "/dev/null") }
        let url = "127.0.0.1:\(port)/q"
        try await ExampleProcess("sender", [url, "--count", "5"], redirections: "<&- >&- 2>&-").succeed()
        try await receiver.succeed()
    }

    @Test(arguments: ["--output", "--stream"])
    func aClosedStdoutEndsTheReceiverBeforeItAcceptsAnything(_ option: String) async throws {
        try await withBroker { broker, url in
            try await ExampleProcess("sender", ["\(url)/q", "--body", "x"]).succeed()
            let receiver = try ExampleProcess("receiver", ["\(url)/q", option, "-"], redirections: ">&-")
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines.first == "receiver: cannot write stdout: Bad file descriptor")
            let rest = try ExampleProcess("receiver", ["\(url)/q", "--output", "-", "--count", "1"])
            #expect(try await rest.succeed().output == "x\n")
        }
    }

    @Test(arguments: ["--output", "--stream"])
    func aFullStdoutEndsTheReceiverBeforeItAcceptsAnything(_ option: String) async throws {
        try await withBroker { broker, url in
            try await ExampleProcess("sender", ["\(url)/q", "--body", "x", "--content-type", "text/plain"]).succeed()
            let receiver = try ExampleProcess("receiver", ["\(url)/q", option, "-"], redirections: ">/dev/full")
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines.first == "receiver: cannot write stdout: No space left on device")
            let rest = try ExampleProcess("receiver", ["\(url)/q", "--output", "-", "--count", "1"])
            #expect(try await rest.succeed().output == "x\n")
        }
    }

    @Test(arguments: ["--file", "--stream"])
    func aClosedStdinIsAFailureOfOneLine(_ option: String) async throws {
        try await withBroker { _, url in
            let sender = try ExampleProcess("sender", ["\(url)/q", option, "-"], redirections: "<&-")
            #expect(try await sender.waitForExit() == 1)
            #expect(sender.errorLines.first == "sender: cannot read stdin: Bad file descriptor")
        }
    }
}
