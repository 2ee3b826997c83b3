// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

/// The ends of the programs: exit codes, counts that are correct at every end, and one line for a person.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesEndTests {
    // MARK: Counts

    /// A sender whose messages wait for room. An interrupt, the loss of the peer, or a stopped peer ends the sender.
    @Test(arguments: [SIGINT, SIGKILL, SIGSTOP])
    func outcomesAreCountedWhileMessagesWaitForRoom(_ number: Int32) async throws {
        try await withFolder { folder in
            let file = folder.appendingPathComponent("received")
            let receiver = try ExampleProcess(
                "receiver",
                ["127.0.0.1:0/q", "--listen", "--handler-delay", "100", "--window", "2", "--output", file.path]
            )
            defer { receiver.signal(SIGKILL) }
            let load = ["--count", "2000", "--size", "1000", "--timeout", "1.5", "--json"]
            let sender = try await ExampleProcess("sender", ["127.0.0.1:\(receiver.port())/q"] + load)
            let count = { (try? Data(contentsOf: file).count / 1_001) ?? 0 }
            // One message moves every 100 ms, for longer than the standstill limit.
            let before = try await lookUntil("messages move") { count() >= 30 ? count() : nil }
            (number == SIGINT ? sender : receiver).signal(number)
            #expect(try await sender.waitForExit() == (number == SIGINT ? 130 : 1), "\(sender.errorLines)")
            let accepted = try #require(sender.json()["accepted"])
            // The outcomes of the last messages may be in flight.
            #expect(accepted >= before - 5 && accepted <= count(), "\(accepted) of \(before)")
            #expect(sender.errorLines.count == 1, "\(sender.errorLines)")
            let word = [SIGINT: "interrupted: ", SIGKILL: "lost", SIGSTOP: "nothing has moved for 1.5 s"]
            #expect(sender.errorLines.first?.contains(word[number] ?? "") == true, "\(sender.errorLines)")
        }
    }

    @Test func outcomesAreCountedInAnyOrder() async throws {
        try await ExamplesPeer.with { receiver in
            let first = try await receiver.next()
            while let delivery = try await receiver.next() { delivery.accept() }
            first?.accept()
        } _: { port in
            let options = ["127.0.0.1:\(port)/q", "--count", "90", "--timeout", "3", "--json"]
            let sender = try ExampleProcess("sender", options)
            #expect(try await sender.waitForExit() == 1)
            #expect(try sender.json()["accepted"] == 89)
            #expect(sender.errorLines.first?.contains("1 message is not settled") == true, "\(sender.errorLines)")
        }
    }

    /// The peer settles without an outcome, because the test replaces the one disposition of the message.
    @Test func aMessageSettledWithoutAnOutcomeIsNotAccepted() async throws {
        let settled = try Frame(.disposition, [true, .uint(0), .null, true]).bytes()
        let login = ScriptedPeer.Login(damage: { bytes, _ in
            bytes.dropFirst(8).starts(with: [0, 0x53, 0x15]) ? settled : bytes
        })
        try await ScriptedPeer.with(login: login) { _, url in
            let sender = try ExampleProcess("sender", ["\(url)/q", "--body", "x"])
            #expect(try await sender.waitForExit() == 1)
            let start = "sender: 0 of 1 message accepted, 1 settled without an outcome"
            #expect(sender.errorLines.last == start, "\(sender.errorLines)")
            #expect(sender.errorLines.first == "sender: not accepted: 1 of 1 message: 1 settled without an outcome")
        }
    }

    @Test func acceptancesThatCannotBeSentAreAFailure() async throws {
        let options = ["127.0.0.1:0/q", "--listen", "--handler-delay", "200", "--json"]
        let receiver = try ExampleProcess("receiver", options)
        let url = "127.0.0.1:\(try await receiver.port())"
        try await AMQPConnection.withConnection(to: url) { connection in
            let sender = try await connection.openSession().openSender(to: "q")
            for _ in 0..<3 { _ = try await sender.enqueue(AMQPMessage(body: "x")) }
            _ = try await lookUntil("the messages are written") { sender.outgoingBytes == 0 ? true : nil }
            // The outcomes are not awaited.
            try await sender.close().check()
        }
        #expect(try await receiver.waitForExit() == 1)
        #expect(try receiver.json()["messages"] == 3)
        let count = try #require(try receiver.json()["not_settled"])
        #expect(count >= 2)
        #expect(receiver.errorLines.last?.hasPrefix("receiver: not settled: \(count) messages: ") == true)
    }

    // MARK: A link that the peer closes

    @Test func aLinkThatThePeerClosesIsNamed() async throws {
        try await ExamplesPeer.with { receiver in
            try await receiver.next()?.accept()
            try await receiver.close().check()
        } _: { port in
            let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--count", "100000", "--json"])
            #expect(try await sender.waitForExit() == 1)
            #expect(sender.errorLines.last == "sender: the peer closed the link before all messages were settled")
        }
        try await ScriptedPeer.with(react: { kind, _ in kind == .attach ? .detach(nil) : .answer }) { _, url in
            let receiver = try ExampleProcess("receiver", ["\(url)/q", "--json"])
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines == ["receiver: the peer closed the link"])
        }
    }

    /// The peer never answers the drain.
    @Test(arguments: [[], ["--stream", "-"]])
    func anIdleTimeoutEndsTheReceiverOfASilentPeer(_ options: [String]) async throws {
        try await ScriptedPeer.with { _, url in
            let receiver = try ExampleProcess("receiver", ["\(url)/q", "--idle-timeout", "0.3"] + options)
            #expect(try await receiver.waitForExit(20) == (options.isEmpty ? 0 : 1), "\(receiver.errorLines)")
        }
    }

    /// The server resets each connection at once, possibly before the client has read from the socket.
    @Test func aResetIsNotBlamedOnEncryption() async throws {
        for _ in 0..<40 {
            let listener = try RawSocket()
            listener.listen(backlog: 8)
            let connecting = Task { try await AMQPConnection.connect(to: "amqp://ann:pw@127.0.0.1:\(listener.port)") }
            // The call blocks only until the connection arrives.
            let socket = accept(listener.descriptor, nil, nil)
            try #require(socket >= 0)
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
            close(socket)
            let error = await #expect(throws: AMQPError.self) { try await connecting.value }
            #expect(
                error?.condition == .connectionLost || error?.condition == .connectFailed,
                "\(String(describing: error))"
            )
        }
    }

    // MARK: Input

    /// Waiting for input does not count as a standstill.
    @Test(arguments: ["--file", "--stream"])
    func aQuietInputIsNoStandstill(_ option: String) async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("fifo").path
            try #require(mkfifo(path, 0o600) == 0)
            try await withBroker { _, url in
                let options = [option, path, "--timeout", "1", "--progress"]
                let sender = try ExampleProcess("sender", ["\(url)/q"] + options)
                let writer = try await lookUntil("the input is open") { () -> Int32? in
                    let writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
                    return writer >= 0 ? writer : nil
                }
                #expect(write(writer, "a\n", 2) == 2)
                // The sender writes one line per second.
                let count = sender.errorLines.count
                _ = try await lookUntil("some seconds pass") { sender.errorLines.count >= count + 4 ? true : nil }
                #expect(write(writer, "b\n", 2) == 2)
                close(writer)
                try await sender.succeed()
            }
        }
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func anInterruptEndsAWaitForAFIFO(_ number: Int32) async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("fifo").path
            try #require(mkfifo(path, 0o600) == 0)
            let login = ["--user", "ann", "--password-file", path]
            let calls = [
                ("sender", ["--file", path]), ("sender", ["--stream", path]), ("sender", ["--body", "x"] + login),
                ("receiver", login),
            ]
            for (name, options) in calls {
                let process = try ExampleProcess(name, ["127.0.0.1:1/q", "--progress", "--json"] + options)
                _ = try await lookUntil("it waits") { process.errorLines.isEmpty ? nil : true }
                process.signal(number)
                #expect(try await process.waitForExit(20) == 128 + number)
                #expect(process.errorLines.last == "\(name): interrupted: no link was open yet")
                #expect(try process.json()["messages"] == 0)
                let limited = try ExampleProcess(name, ["127.0.0.1:1/q", "--timeout", "0.3"] + options)
                #expect(try await limited.waitForExit(20) == 1)
                #expect(limited.errors.contains("within 0.3 s"), "\(limited.errorLines)")
            }
        }
    }

    /// The receiver's stdout is a pipe that no one reads.
    @Test(arguments: ["--output", "--stream"])
    func anInterruptEndsAWaitForAReader(_ option: String) async throws {
        try await withBroker { _, url in
            let load = option == "--output" ? ["--file", "-"] : ["--stream", "-"]
            let text = String(repeating: String(repeating: "x", count: 999) + "\n", count: 3_000)
            try await ExampleProcess("sender", ["\(url)/q"] + load, input: text).succeed()
            let count = option == "--output" ? ["--count", "3000"] : []
            let options = ["\(url)/q", option, "-", "--progress", "--json"] + count
            let receiver = try ExampleProcess("receiver", options, outputLimit: 1_000)
            // The receiver writes one line per second.
            _ = try await lookUntil("it waits") {
                receiver.output.utf8.count >= 1_000 && receiver.errorLines.count >= 3 ? true : nil
            }
            receiver.signal(SIGINT)
            #expect(try await receiver.waitForExit(20) == 130)
            #expect(receiver.errorLines.dropLast().last?.hasPrefix("receiver: interrupted: ") == true)
            #expect(try receiver.json(receiver.errorLines.last)["not_settled"] == 0)
        }
    }

    // MARK: Reports

    @Test func theJSONIsTheLastLineEvenAfterAFailure() async throws {
        let calls = [
            ("sender", ["localhost/q", "--file", "/nonexistent"]), ("sender", ["127.0.0.1:1/q", "--body", "x"]),
            ("receiver", ["127.0.0.1:1/q"]),
            ("receiver", ["127.0.0.1:0/q", "--listen", "--idle-timeout", "0.1"]),
        ]
        for (name, arguments) in calls {
            let process = try ExampleProcess(name, arguments + ["--json"], redirections: "2>&1")
            #expect(try await process.waitForExit() == 1)
            #expect(try process.json()["messages"] == 0, "\(process.output)")
        }
        try await withBroker { _, url in
            let options = ["\(url)/q", "--count", "2", "--idle-timeout", "0.2", "--json"]
            let receiver = try ExampleProcess("receiver", options, redirections: "2>&1")
            #expect(try await receiver.waitForExit() == 1)
            #expect(try receiver.json()["messages"] == 0, "\(receiver.output)")
        }
    }

    // MARK: Interrupts

    @Test(arguments: [SIGINT, SIGTERM])
    func anInterruptBeforeALinkIsOpenIsOneLine(_ number: Int32) async throws {
        let silent = try SilentListener()
        let calls = [
            ("receiver", ["127.0.0.1:\(silent.port)/q"]), ("sender", ["127.0.0.1:\(silent.port)/q", "--body", "x"]),
            ("receiver", ["127.0.0.1:0/q", "--listen"]),
        ]
        for (name, arguments) in calls {
            let process = try ExampleProcess(name, arguments)
            if arguments.contains("--listen") {
                _ = try await process.port()
            } else {
                try await silent.waitForConnection()
            }
            process.signal(number)
            #expect(try await process.waitForExit() == 128 + number)
            let lines = process.errorLines.filter { !$0.contains("listening") }
            #expect(lines == ["\(name): interrupted: no link was open yet"])
        }
    }

    @Test func anInterruptWhileWaitingForCreditReportsTheCount() async throws {
        try await ExamplesPeer.with(window: .manual) { receiver in
            receiver.grant(credit: 3)
            for _ in 0..<3 { try await receiver.next()?.accept() }
            try await receiver.waitUntilClosed()
        } _: { port in
            let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--count", "2000", "--progress"])
            _ = try await lookUntil("three outcomes are shown") {
                sender.errorLines.contains { $0.contains("3 of 2,000 settled") } ? true : nil
            }
            sender.signal(SIGINT)
            #expect(try await sender.waitForExit() == 130)
            let start = "sender: interrupted: 3 of 2,000 messages accepted, "
            #expect(sender.errorLines.last?.hasPrefix(start) == true, "\(sender.errorLines)")
        }
    }

    @Test func aSecondInterruptEndsAtOnce() async throws {
        try await withBroker { broker, url in
            let sender = try ExampleProcess("sender", ["\(url)/q", "--count", "100000", "--rate", "1", "--progress"])
            let receiver = try ExampleProcess("receiver", ["\(url)/q", "--progress"])
            _ = try await lookUntil("both have a link") {
                sender.errors.contains("unsent") && receiver.errors.contains("buffered") ? true : nil
            }
            broker.signal(SIGSTOP)
            defer { broker.signal(SIGCONT) }
            for process in [sender, receiver] {
                let start = ContinuousClock.now
                process.signal(SIGINT)
                // The peer does not answer, so closing would last some seconds.
                try await Task.sleep(for: .milliseconds(300))
                process.signal(SIGINT)
                #expect(try await process.waitForExit() == 130)
                #expect(ContinuousClock.now - start < .seconds(5))
            }
        }
    }

    @Test func anInterruptedStreamIsNoSuccess() async throws {
        try await withBroker { _, url in
            let receiver = try ExampleProcess("receiver", ["\(url)/q", "--stream", "-", "--progress"])
            _ = try await lookUntil("the receiver has a link") { receiver.errors.contains("buffered") ? true : nil }
            receiver.signal(SIGTERM)
            #expect(try await receiver.waitForExit() == 143)
            #expect(receiver.errorLines.last?.hasPrefix("receiver: interrupted: 0 messages received") == true)
        }
    }

    @Test func anInterruptedDemoIsNoSuccess() async throws {
        try await withFolder { folder in
            for number in 1...500 {
                try Data("\(number)".utf8).write(to: folder.appendingPathComponent("\(number)"))
            }
            let demo = try ExampleProcess("demo", [folder.path, "--progress"])
            _ = try await lookUntil("the second relay begins") {
                demo.errors.contains("receiver: listening") ? true : nil
            }
            demo.signal(SIGINT)
            #expect(try await demo.waitForExit() == 130)
            #expect(demo.errorLines.last?.hasPrefix("demo: ") == true)
        }
    }

    // MARK: Summaries

    @Test func everyEndHasASummary() async throws {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0"])
        let url = try await "127.0.0.1:\(broker.port())/q"
        let sender = try await ExampleProcess("sender", [url, "--count", "1500", "--size", "1000"]).succeed()
        let sent = /sender: 1,500 of 1,500 messages accepted, 1\.4 MiB in \d+\.\d s \([\d,]+\/s\)/
        #expect(sender.errorLines.count == 1)
        #expect(sender.errorLines.first?.wholeMatch(of: sent) != nil, "\(sender.errorLines)")
        let one = try await ExampleProcess("receiver", [url, "--count", "1"]).succeed()
        #expect(one.errorLines == ["receiver: 1 of 1 message received, 1000 B in 0.0 s"])
        let settled = try await ExampleProcess("sender", [url, "--body", "x", "--settled"]).succeed()
        #expect(settled.errorLines.first?.hasPrefix("sender: 1 of 1 message sent, 1 B in") == true)
        let receiver = try ExampleProcess("receiver", [url, "--count", "9999", "--idle-timeout", "0.3"])
        #expect(try await receiver.waitForExit() == 1)
        #expect(receiver.errorLines.first?.hasPrefix("receiver: only 1,500 of 9,999 messages came") == true)
        #expect(receiver.errorLines.last?.hasPrefix("receiver: 1,500 of 9,999 messages received, ") == true)
        // The broker ends while the sender runs.
        let slow = try ExampleProcess("sender", [url, "--count", "5000", "--rate", "100"])
        _ = try await lookUntil("a hundred messages arrived") {
            broker.signal(SIGUSR1)
            return broker.errorLines.last { $0.hasPrefix("broker: 1,6") }
        }
        broker.signal(SIGTERM)
        try await broker.succeed()
        #expect(broker.errorLines.last?.hasPrefix("broker: 1,") == true)
        #expect(!broker.errors.contains("{"))
        #expect(try await slow.waitForExit() == 1)
        #expect(slow.errorLines.count == 2)
        #expect(slow.errorLines.first?.contains("the broker is shutting down") == true)
        let cut = /sender: \d+ of 5,000 messages accepted, [\d,]+ not settled.*/
        #expect(slow.errorLines.last?.wholeMatch(of: cut) != nil, "\(slow.errorLines)")
    }

    // MARK: A peer that releases every message

    @Test func sendingSlowsDownAndStopsIfThePeerReleasesEverything() async throws {
        let count = Mutex(0)
        try await ExamplesPeer.with { receiver in
            while let delivery = try await receiver.next() {
                count.withLock { $0 += 1 }
                delivery.release()
            }
        } _: { port in
            let load = ["--count", "10000000", "--size", "20", "--released-limit", "4", "--json"]
            let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q"] + load)
            #expect(try await sender.waitForExit() == 1)
            let total = count.withLock { $0 }
            // The peer's credit is 100, so that many messages may be in flight before the first one returns.
            #expect(total >= 10 && total < 1_500, "\(total) messages in 4 seconds")
            let report = try sender.json()
            #expect(try #require(report["released"]) <= total)
            #expect(report["accepted"] == 0)
            #expect(sender.errorLines.count == 2, "\(sender.errorLines)")
            #expect(sender.errorLines.first?.contains("sending slowly until it accepts one") == true)
            #expect(sender.errorLines.last?.contains("the address may have no consumer") == true)
        }
    }

    @Test func aSenderIsFastAgainOnceMessagesAreAccepted() async throws {
        try await ExamplesPeer.with { receiver in
            var start: ContinuousClock.Instant?
            while let delivery = try await receiver.next() {
                let first = start ?? .now
                start = first
                if ContinuousClock.now - first < .seconds(2) { delivery.modify(.init()) } else { delivery.accept() }
            }
        } _: { port in
            let sender = try ExampleProcess("sender", ["127.0.0.1:\(port)/q", "--count", "20000", "--json"])
            // Some messages were returned and not sent again.
            #expect(try await sender.waitForExit() == 1)
            let report = try sender.json()
            let (modified, accepted) = (try #require(report["modified"]), try #require(report["accepted"]))
            #expect(modified + accepted == 20_000)
            #expect(modified < 1_500, "\(modified)")
            #expect(sender.errorLines.contains { $0.contains("the peer accepts messages again") })
        }
    }
}
