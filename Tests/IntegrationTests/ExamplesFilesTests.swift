// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

/// The files that a user names: the destinations of the receiver, and the files that are read line by line.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesFilesTests {
    /// Sends a text to a receiver that writes it to a path, and waits for the receiver.
    private func deliver(_ text: String, _ option: String, to path: String) async throws {
        let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", option, path])
        let url = "127.0.0.1:\(try await receiver.port())/q"
        try await ExampleProcess("sender", [url, "--body", text, "--content-type", "text/plain"]).succeed()
        try await receiver.succeed()
    }

    private func status(_ path: String) throws -> stat {
        var status = stat()
        try #require(lstat(path, &status) == 0, "\(path)")
        return status
    }

    private func kind(_ path: String) throws -> mode_t { try self.status(path).st_mode & S_IFMT }

    private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    // MARK: Destinations of the receiver

    @Test(arguments: ["--output", "--stream"])
    func aFIFOIsWrittenAndKept(_ option: String) async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("fifo").path
            try #require(mkfifo(path, 0o600) == 0)
            // The reader opens the FIFO only after the receiver has begun to wait.
            let read = Mutex<Data?>(nil)
            let reader = Reader(path) { data in read.withLock { $0 = data } }
            try await self.deliver("hello", option, to: path)
            let data = try await lookUntil("the reader sees the end") { read.withLock { $0 } }
            #expect(String(decoding: data, as: UTF8.self) == (option == "--output" ? "hello\n" : "hello"))
            #expect(try self.kind(path) == S_IFIFO)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["fifo"])
            withExtendedLifetime(reader) {}
        }
    }

    @Test(arguments: ["--output", "--stream"])
    func aDeviceIsWrittenAndKept(_ option: String) async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("null").path
            // The device numbers are those of /dev/null. Only root may create a device, and not on every system.
            guard mknod(path, S_IFCHR | 0o666, 1 << 8 | 3) == 0, access(path, W_OK) == 0 else { return }
            let descriptor = open(path, O_WRONLY)
            guard descriptor >= 0 else { return }
            close(descriptor)
            try await self.deliver("hello", option, to: path)
            #expect(try self.kind(path) == S_IFCHR)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["null"])
        }
    }

    @Test(arguments: ["--output", "--stream"])
    func aLinkIsFollowed(_ option: String) async throws {
        let end = option == "--output" ? "\n" : ""
        try await withFolder { folder in
            let file = folder.appendingPathComponent("below/file").path
            try FileManager.default.createDirectory(
                at: folder.appendingPathComponent("below"),
                withIntermediateDirectories: true
            )
            try Data("a longer text from before".utf8).write(to: URL(fileURLWithPath: file))
            try #require(chmod(file, 0o604) == 0)
            let (link, chain) = (
                folder.appendingPathComponent("link").path, folder.appendingPathComponent("chain").path
            )
            try #require(symlink("below/file", link) == 0 && symlink("link", chain) == 0)
            try await self.deliver("hello", option, to: chain)
            #expect(try self.text(file) == "hello" + end)
            #expect(try self.status(file).st_mode & 0o7777 == 0o604)
            #expect(try self.kind(chain) == S_IFLNK && self.kind(link) == S_IFLNK)
            // The link is dangling, so the file appears at its destination.
            let dangling = folder.appendingPathComponent("dangling").path
            try #require(symlink("below/new", dangling) == 0)
            try await self.deliver("new", option, to: dangling)
            #expect(try self.text(folder.appendingPathComponent("below/new").path) == "new" + end)
            #expect(try self.kind(dangling) == S_IFLNK)
            let names = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
            #expect(Set(names) == ["below", "below/file", "below/new", "chain", "dangling", "link"])
        }
    }

    @Test func aStreamReplacesAFileAtomicallyAndKeepsItsModeAndOwner() async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("file").path
            try Data("old".utf8).write(to: URL(fileURLWithPath: path))
            try #require(chmod(path, 0o4711) == 0)
            // Only root can change the owner of a file.
            if geteuid() == 0 { try #require(chown(path, 12, 34) == 0 && chmod(path, 0o4711) == 0) }
            let before = try self.status(path)
            // This hard link is another name of the old file, whose bytes must not change.
            let other = folder.appendingPathComponent("other").path
            try #require(link(path, other) == 0)
            try await self.deliver("new", "--stream", to: path)
            let after = try self.status(path)
            #expect(try self.text(path) == "new")
            #expect(try self.text(other) == "old")
            #expect(after.st_ino != before.st_ino)
            #expect(after.st_mode == before.st_mode)
            #expect(after.st_uid == before.st_uid && after.st_gid == before.st_gid)
        }
    }

    @Test func aNewFileHasAModeWithinTheUmask() async throws {
        try await withFolder { folder in
            for option in ["--output", "--stream"] {
                let path = folder.appendingPathComponent(option).path
                let receiver = try ExampleProcess(
                    "receiver",
                    ["127.0.0.1:0/q", "--listen", option, path],
                    redirections: "",
                    prelude: "umask 027"
                )
                let url = "127.0.0.1:\(try await receiver.port())/q"
                let body = ["--body", "x", "--content-type", "text/plain"]
                try await ExampleProcess("sender", [url] + body).succeed()
                try await receiver.succeed()
                #expect(try self.status(path).st_mode & 0o7777 == 0o640)
            }
        }
    }

    @Test func aStreamThatIsCutKeepsTheOldFile() async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("file").path
            try Data("old".utf8).write(to: URL(fileURLWithPath: path))
            let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--stream", path])
            let url = "127.0.0.1:\(try await receiver.port())/q"
            let sender = try ExampleProcess("sender", [url, "--stream", "/dev/zero"])
            _ = try await lookUntil("it has begun") {
                let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
                return try names.contains { name in
                    try name != "file" && self.status("\(folder.path)/\(name)").st_size > 1_000_000
                } ? true : nil
            }
            sender.signal(SIGINT)
            #expect(try await sender.waitForExit() == 130)
            #expect(try await receiver.waitForExit() == 1)
            #expect(try self.text(path) == "old")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
        }
    }

    @Test func aStreamWithoutAConnectionLeavesNothing() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        let port = listener.port
        await listener.close()
        try await withFolder { folder in
            let path = folder.appendingPathComponent("file").path
            let receiver = try ExampleProcess("receiver", ["127.0.0.1:\(port)/q", "--stream", path])
            #expect(try await receiver.waitForExit() == 1)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        }
    }

    // MARK: Files that are read line by line

    private static let passwords: [(file: String, password: String)] = [
        ("secret\r\n", "secret"), ("secret\n", "secret"), ("secret", "secret"), ("secret\r\nmore\r\n", "secret"),
        ("two\rparts\r\n", "two\rparts"), ("end\r", "end\r"), ("end\r\r\n", "end\r"),
        ("caf\u{E9}\u{2028}x\n", "caf\u{E9}\u{2028}x"),
    ]

    @Test(arguments: Self.passwords)
    func aPasswordIsTheLineWithoutItsEnd(_ file: String, _ password: String) async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("password").path
            try Data(file.utf8).write(to: URL(fileURLWithPath: path))
            let asked = Mutex<[UInt8]?>(nil)
            var configuration = AMQPListener.Configuration()
            configuration.sasl = AMQPServerSASL { user, password in
                asked.withLock { $0 = Array(password.utf8) }
                return false
            }
            let listener = try await AMQPListener.bind(port: 0, configuration: configuration)
            let arguments = ["127.0.0.1:\(listener.port)/q", "--body", "x", "--user", "ann", "--password-file", path]
            #expect(try await ExampleProcess("sender", arguments).waitForExit() == 1)
            #expect(asked.withLock { $0 } == Array(password.utf8))
            await listener.close()
        }
    }

    @Test(arguments: Self.passwords)
    func aUsersFileHoldsPasswordsWithoutTheirLineEnds(_ file: String, _ password: String) async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("users").path
            try Data("\r\n\nfirst:x\r\nann:\(file)".utf8).write(to: URL(fileURLWithPath: path))
            // The line after the password is not a user.
            guard !file.contains("more") else { return }
            try await withBroker(["--users", path]) { _, url in
                var parsed = try AMQPURL(url)
                for (user, password) in [("first", "x"), ("ann", password)] {
                    (parsed.username, parsed.password) = (user, password)
                    try await AMQPConnection.connect(to: parsed).close()
                }
            }
        }
    }

    @Test func invalidTextIsNamedWithItsLine() async throws {
        try await withFolder { folder in
            let cases: [(name: String, bytes: [UInt8], cause: String)] = [
                ("nul", [97, 58, 0, 10], "has a NUL byte"), ("latin", [97, 58, 0xE9, 13, 10], "is not UTF-8"),
                ("utf-16", [0xFF, 0xFE, 97, 0], "has a NUL byte"),
            ]
            for (name, bytes, cause) in cases {
                let path = folder.appendingPathComponent(name).path
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                let sender = try ExampleProcess(
                    "sender",
                    ["localhost/q", "--body", "x", "--user", "ann", "--password-file", path]
                )
                #expect(try await sender.waitForExit() == 1)
                #expect(sender.errorLines == ["sender: line 1 of \(path) \(cause)"])
                let users = path + "-users"
                try Data(Array("bob:x\n\n".utf8) + bytes).write(to: URL(fileURLWithPath: users))
                let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0", "--users", users])
                #expect(try await broker.waitForExit() == 1)
                #expect(broker.errorLines == ["broker: line 3 of \(users) \(cause)"])
            }
        }
    }

    @Test func theLinesOfAFileAreSentWithoutTheirEnds() async throws {
        try await withBroker { _, url in
            let input = "one\r\n\r\ntwo\rparts\nthree\r\r\nlast\r"
            try await ExampleProcess("sender", ["\(url)/q", "--file", "-"], input: input).succeed()
            try await AMQPConnection.withConnection(to: url) { connection in
                let receiver = try await connection.openSession().openReceiver(from: "q")
                for line in ["one", "", "two\rparts", "three\r", "last\r"] {
                    let delivery = try #require(try await receiver.receive(timeout: .seconds(20)))
                    #expect(try delivery.decodeMessage().bodyString.map { Array($0.utf8) } == Array(line.utf8))
                    delivery.accept()
                }
            }
        }
    }
}

/// Reads a file to its end on a thread of its own.
private final class Reader: Sendable {
    init(_ path: String, _ done: @escaping @Sendable (Data) -> Void) {
        Thread.detachNewThread {
            var all = Data()
            let descriptor = open(path, O_RDONLY)
            defer { close(descriptor) }
            var bytes = [UInt8](repeating: 0, count: 65_536)
            while case let count = Foundation.read(descriptor, &bytes, bytes.count), count > 0 {
                all += bytes[..<count]
            }
            done(all)
        }
    }
}
