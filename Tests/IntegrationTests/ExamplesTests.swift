// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// The sender and the receiver, as a user runs them.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesTests {
    private static let emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    // MARK: Through a broker

    @Test func countsThroughTheBroker() async throws {
        try await withBroker { broker, url in
            let receiver = try ExampleProcess(
                "receiver",
                ["\(url)/q", "--count", "5000", "--verify-sequence", "--json"]
            )
            let sender = try ExampleProcess("sender", ["\(url)/q", "--count", "5000", "--size", "100", "--json"])
            let sent = try await sender.succeed().json()
            let received = try await receiver.succeed().json()
            #expect(sent["messages"] == 5_000)
            #expect(sent["accepted"] == 5_000)
            #expect(sent["bytes"] == 500_000)
            #expect(try #require(sent["outgoing_bytes_peak"]) > 0)
            #expect(try #require(sent["resident_bytes_peak"]) > 0)
            for key in ["rejected", "released", "modified"] { #expect(sent[key] == 0) }
            #expect(received["messages"] == 5_000)
            #expect(received["bytes"] == 500_000)
            for key in ["mismatches", "missing", "duplicates", "out_of_order"] { #expect(received[key] == 0) }
            #expect(sender.errorLines.isEmpty && receiver.errorLines.isEmpty)
            broker.signal(SIGUSR1)
            let counters = try await lookUntil("the broker tells its counters") {
                broker.output.isEmpty ? nil : try broker.json()
            }
            #expect(counters["received"] == 5_000)
            #expect(counters["accepted"] == 5_000)
            #expect(counters["queued"] == 0)
            #expect(counters["queued_bytes"] == 0)
        }
    }

    @Test func textsAndLines() async throws {
        try await withBroker { _, url in
            try await ExampleProcess("sender", ["\(url)/q", "--body", "hällo"]).succeed()
            try await ExampleProcess("sender", ["\(url)/q", "--file", "-"], input: "one\n\nthree").succeed()
            let receiver = try ExampleProcess(
                "receiver",
                ["\(url)/q", "--count", "4", "--output", "-", "--json"]
            )
            try await receiver.succeed()
            #expect(receiver.output == "hällo\none\n\nthree\n")
            #expect(try receiver.json(receiver.errorLines.last)["messages"] == 4)
        }
    }

    @Test func optionsAreInTheMessage() async throws {
        try await withBroker { _, url in
            let options = [
                "--durable", "--ttl", "60", "--message-priority", "7", "--property", "a=1", "--property", "b==",
                "--content-type", "text/x-test", "--limit", "4K", "--timeout", "20",
            ]
            try await ExampleProcess("sender", [url, "--address", "q", "--body", "text"] + options).succeed()
            try await AMQPConnection.withConnection(to: url) { connection in
                let receiver = try await connection.openSession().openReceiver(from: "q")
                let delivery = try #require(try await receiver.receive(timeout: .seconds(20)))
                let message = try delivery.decodeMessage()
                #expect(message.header.durable)
                #expect(message.header.priority == 7)
                #expect(message.header.timeToLive == .seconds(60))
                #expect(message.applicationProperties["a"]?.stringValue == "1")
                #expect(message.applicationProperties["b"]?.stringValue == "=")
                #expect(message.properties.contentType == "text/x-test")
                #expect(message.bodyString == "text")
                delivery.accept()
            }
        }
    }

    @Test func oneLargeMessageIsStreamed() async throws {
        try await withFolder { folder in
            let file = folder.appendingPathComponent("in")
            let copy = folder.appendingPathComponent("out")
            var bytes = Data(count: 20_000_003)
            for index in stride(from: 0, to: bytes.count, by: 997) { bytes[index] = UInt8(truncatingIfNeeded: index) }
            try bytes.write(to: file)
            for input in [file.path, "-"] {
                let receiver = try ExampleProcess(
                    "receiver",
                    ["127.0.0.1:0/q", "--listen", "--stream", copy.path, "--json"]
                )
                let url = "127.0.0.1:\(try await receiver.port())/q"
                let text = input == "-" ? String(repeating: "line\n", count: 100_000) : nil
                let sender = try ExampleProcess("sender", [url, "--stream", input, "--json"], input: text)
                let sent = try await sender.succeed().json()
                let received = try await receiver.succeed().json()
                let expected = text.map { Data($0.utf8) } ?? bytes
                #expect(sent["bytes"] == expected.count)
                #expect(sent["accepted"] == 1)
                #expect(received["bytes"] == expected.count)
                #expect(try #require(received["buffered_bytes_peak"]) <= 1 << 20 + 1_024)
                #expect(try Data(contentsOf: copy) == expected)
            }
        }
    }

    @Test func aStreamThatIsCutLeavesNothing() async throws {
        try await withFolder { folder in
            let copy = folder.appendingPathComponent("out")
            let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--stream", copy.path])
            let url = "127.0.0.1:\(try await receiver.port())/q"
            // The rest of the input never arrives, so the sender waits in the middle of the message.
            let sender = try ExampleProcess("sender", [url, "--stream", "/dev/zero"])
            _ = try await lookUntil("it has begun") {
                let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
                let partial = folder.appendingPathComponent(names.first ?? "").path
                let size = try? FileManager.default.attributesOfItem(atPath: partial)[.size] as? Int
                return !names.isEmpty && (size ?? 0) > 1_000_000 ? true : nil
            }
            sender.signal(SIGINT)
            #expect(try await sender.waitForExit() == 130)
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines.contains { $0.contains("aborted") }, "\(receiver.errorLines)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        }
    }

    @Test func directoryThroughTheBroker() async throws {
        try await withFolder { folder in
            let (original, copy) = (folder.appendingPathComponent("in"), folder.appendingPathComponent("out"))
            let files = try Self.makeNastyTree(original)
            try await withBroker { _, url in
                let receiver = try ExampleProcess(
                    "receiver",
                    ["\(url)/q", "--directory", copy.path, "--count", "\(files.count)", "--json"]
                )
                try await ExampleProcess("sender", ["\(url)/q", "--directory", original.path]).succeed()
                let received = try await receiver.succeed().json()
                #expect(received["messages"] == files.count)
                #expect(received["mismatches"] == 0)
                #expect(received["bytes"] == files.reduce(0) { $0 + $1.value.count })
            }
            for (path, content) in files {
                let file = copy.appendingPathComponent(path)
                #expect(try Data(contentsOf: file) == content, "\(path)")
                let permissions = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions]
                #expect((permissions as? NSNumber)?.intValue == (path == "run me.sh" ? 0o755 : 0o640), "\(path)")
            }
            // Neither the link nor an unfinished file has arrived.
            let names = try FileManager.default.subpathsOfDirectory(atPath: copy.path)
            #expect(names.filter { $0.contains("link") || $0.hasSuffix(".part") }.isEmpty)
        }
    }

    private static func makeNastyTree(_ folder: URL) throws -> [String: Data] {
        let files: [String: Data] = [
            "plain.txt": Data("text\n".utf8),
            "with space and 'quotes'": Data([0, 255, 10]),
            "ünïcödé/日本語/😀.json": Data("{}".utf8),
            "empty": Data(),
            "run me.sh": Data("#!/bin/sh\n".utf8),
            "deep/er/and/deeper/file": Data(repeating: 7, count: 70_000),
            "line\nfeed": Data("x".utf8),
            "-n": Data("dash".utf8),
            "large.bin": Data((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }),
        ]
        for (path, content) in files {
            let file = folder.appendingPathComponent(path)
            let parent = file.deletingLastPathComponent()
            try FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
            try content.write(to: file)
            #expect(chmod(file.path, path == "run me.sh" ? 0o4755 : 0o640) == 0)
        }
        #expect(symlink("plain.txt", folder.appendingPathComponent("a link").path) == 0)
        return files
    }

    // MARK: Directly

    @Test func pathsThatLeaveTheDirectoryAreRefused() async throws {
        try await withFolder { folder in
            let directory = folder.appendingPathComponent("in")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let outside = folder.appendingPathComponent("outside")
            try FileManager.default.createDirectory(at: outside, withIntermediateDirectories: true)
            #expect(symlink(outside.path, directory.appendingPathComponent("way").path) == 0)
            #expect(symlink("../outside/made", directory.appendingPathComponent("end").path) == 0)
            #expect(mkfifo(directory.appendingPathComponent("fifo").path, 0o600) == 0)
            let receiver = try ExampleProcess(
                "receiver",
                ["amqp://127.0.0.1:0/x", "--listen", "--directory", directory.path, "--json"]
            )
            let paths = [
                "../evil", "\(folder.path)/evil", "a/../../evil", "..", ".", "", "a//b", "a/./b", "nul\0", "way/evil",
                "end", "fifo", "fifo/x", "a/", String(repeating: "x", count: 256),
            ]
            try await AMQPConnection.withConnection(to: "127.0.0.1:\(receiver.port())") { connection in
                let sender = try await connection.openSession().openSender(to: "x")
                for path in paths {
                    guard case .rejected(let reason) = try await sender.send(Self.file(path, Self.emptyDigest)) else {
                        Issue.record("not rejected: \(path)")
                        continue
                    }
                    #expect(reason?.condition == .notAllowed, "\(path)")
                }
                let wrong = String(repeating: "0", count: 64)
                #expect(try await sender.send(Self.file("wrong", wrong)) != .accepted)
                #expect(try await sender.send(Self.file("right", Self.emptyDigest)) == .accepted)
                try await sender.close().check()
            }
            #expect(try await receiver.waitForExit() == 1)
            let report = try receiver.json()
            #expect(report["mismatches"] == 1)
            #expect(report["refused"] == paths.count)
            let named = receiver.errorLines.filter { $0.hasPrefix("receiver: rejected: ") }
            // The errors name each path, and the last line is the total.
            #expect(named.count == paths.count + 1)
            #expect(receiver.errorLines.last == "receiver: rejected 16 of 17 messages")
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside.path).isEmpty)
            #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["in", "outside"])
            let inside = try FileManager.default.contentsOfDirectory(atPath: directory.path)
            #expect(Set(inside).isSuperset(of: ["way", "end", "right"]))
            #expect(!inside.contains("wrong"))
            // The setuid bit is not sent.
            let path = directory.appendingPathComponent("right").path
            let permissions = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
            #expect(permissions?.intValue == 0o700)
        }
    }

    private static func file(_ path: String, _ digest: String) -> AMQPMessage {
        var message = AMQPMessage(body: [UInt8]())
        message.properties.subject = path
        message.applicationProperties["sha256"] = .string(digest)
        message.applicationProperties["permissions"] = "4700"
        return message
    }

    @Test func listeningIgnoresOtherProtocols() async throws {
        let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/x", "--listen", "--json"])
        let port = try await receiver.port()
        let silent = try PlainSocket(port)
        let talking = try PlainSocket(port)
        talking.write("GET / HTTP/1.0\r\n\r\n" + String(repeating: "garbage", count: 1_000))
        // A connection that speaks AMQP but sends nothing does not count either.
        try await AMQPConnection.withConnection(to: "127.0.0.1:\(port)") { _ = try await $0.openSession() }
        try await ExampleProcess("sender", ["127.0.0.1:\(port)/x", "--count", "10"]).succeed()
        #expect(try await receiver.succeed().json()["messages"] == 10)
        withExtendedLifetime((silent, talking)) {}
    }

    @Test func settledMessagesArrive() async throws {
        let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/x", "--listen", "--json"])
        let sender = try await ExampleProcess(
            "sender",
            ["127.0.0.1:\(receiver.port())/x", "--count", "1000", "--settled", "--json"]
        )
        #expect(try await sender.succeed().json()["settled"] == 1_000)
        #expect(try await receiver.succeed().json()["messages"] == 1_000)
    }

    // MARK: Failures and signals

    @Test func failuresAreOneLine() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        let port = listener.port
        await listener.close()
        let calls: [(String, [String], Int32, String)] = [
            ("sender", ["127.0.0.1:\(port)/q", "--body", "x"], 1, "refused"),
            ("receiver", ["127.0.0.1:\(port)/q"], 1, "refused"),
            ("sender", ["127.0.0.1:\(port)", "--body", "x"], 64, "no address"),
            ("sender", ["127.0.0.1:\(port)/q"], 64, "exactly one"),
            ("sender", ["127.0.0.1:\(port)/q", "--body", "x", "--count", "1"], 64, "exactly one"),
            ("sender", ["127.0.0.1:\(port)/q", "--directory", "/nonexistent"], 1, "/nonexistent"),
            ("receiver", [], 64, "url"),
            ("broker", ["--listen", "127.0.0.1:0", "--users", "/nonexistent"], 1, "/nonexistent"),
        ]
        for (name, arguments, status, word) in calls {
            let process = try ExampleProcess(name, arguments)
            #expect(try await process.waitForExit() == status, "\(name) \(arguments)")
            #expect(process.errorLines.count == 1, "\(process.errorLines)")
            #expect(process.errorLines.first?.contains(word) == true, "\(process.errorLines)")
            #expect(process.output.isEmpty)
        }
    }

    @Test func theDemoComparesEqual() async throws {
        try await withFolder { folder in
            let files = try Self.makeNastyTree(folder)
            let demo = try await ExampleProcess("demo", [folder.path, "--json"]).succeed()
            #expect(demo.output.components(separatedBy: "\"files\":\(files.count),").count == 3)
            let empty = folder.appendingPathComponent("no files")
            try FileManager.default.createDirectory(at: empty, withIntermediateDirectories: true)
            let failing = try ExampleProcess("demo", [empty.path])
            #expect(try await failing.waitForExit() == 1)
            #expect(failing.errorLines.count == 1)
        }
    }

    @Test func aStandstillEndsTheSender() async throws {
        try await withBroker(["--max-queue-bytes", "1000"]) { _, url in
            let sender = try ExampleProcess("sender", ["\(url)/q", "--count", "100", "--timeout", "0.3", "--json"])
            #expect(try await sender.waitForExit() == 1)
            #expect(sender.errorLines.count == 1)
            #expect(sender.errorLines.first?.contains("nothing has moved for 0.3 s") == true)
            let report = try sender.json()
            #expect(try #require(report["accepted"]) < 10)
        }
    }

    @Test func anIdleTimeoutEndsTheReceiver() async throws {
        try await withBroker { _, url in
            try await ExampleProcess("sender", ["\(url)/q", "--count", "3"]).succeed()
            let short = try ExampleProcess("receiver", ["\(url)/q", "--count", "4", "--idle-timeout", "0.2", "--json"])
            #expect(try await short.waitForExit() == 1)
            #expect(short.errorLines.count == 1)
            #expect(try short.json()["messages"] == 3)
            try await ExampleProcess("receiver", ["\(url)/q", "--idle-timeout", "0.2"]).succeed()
        }
    }

    @Test func interruptingClosesInOrder() async throws {
        try await withFolder { folder in
            try await withBroker { broker, url in
                let file = folder.appendingPathComponent("received")
                let receiver = try ExampleProcess("receiver", ["\(url)/q", "--output", file.path, "--json"])
                try await ExampleProcess("sender", ["\(url)/q", "--body", "x"]).succeed()
                _ = try await lookUntil("the message is written") {
                    (try? Data(contentsOf: file)) == Data("x\n".utf8) ? true : nil
                }
                receiver.signal(SIGINT)
                #expect(try await receiver.succeed().json()["messages"] == 1)
                let waiting = try ExampleProcess("receiver", ["\(url)/q", "--count", "1"])
                _ = try await lookUntil("the receiver is connected") { () -> Bool? in
                    broker.signal(SIGUSR1)
                    guard broker.output.hasSuffix("\n") else { return nil }
                    return try broker.json()["connections"] == 3 ? true : nil
                }
                waiting.signal(SIGTERM)
                #expect(try await waiting.waitForExit() == 143)
                #expect(waiting.errorLines.count == 1)
            }
        }
    }
}

/// A TCP connection that does not speak AMQP.
final class PlainSocket: Sendable {
    private let descriptor: Int32

    init(_ port: Int) throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
    }

    func write(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(send(self.descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }

    deinit { close(self.descriptor) }
}
