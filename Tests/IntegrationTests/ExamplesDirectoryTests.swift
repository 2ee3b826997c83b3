// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton
import Synchronization
import TestSupport
import Testing

/// Directory trees with files that cannot be sent, large files, and receivers that cannot write.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesDirectoryTests {
    private func withTree(_ body: (_ tree: URL, _ copy: URL) async throws -> Void) async throws {
        try await withFolder { folder in
            let (tree, copy) = (folder.appendingPathComponent("in"), folder.appendingPathComponent("out"))
            for directory in [tree, copy] {
                try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            }
            // An unprivileged user must be able to reach the folder.
            #expect(chmod(folder.path, 0o755) == 0)
            try await body(tree, copy)
        }
    }

    private func write(_ text: String, _ file: URL) throws {
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    /// Creates a sparse file that reads as zeros.
    private func makeSparse(_ file: URL, _ size: Int) throws {
        try Data().write(to: file)
        try #require(truncate(file.path, off_t(size)) == 0)
    }

    private func files(_ directory: URL) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: directory.path).sorted()
    }

    // MARK: The sender

    @Test func unsendableFilesAreNamedAndOthersFollow() async throws {
        try await self.withTree { tree, copy in
            for name in ["a", "below/b", "z"] { try self.write(name, tree.appendingPathComponent(name)) }
            #expect(mkfifo(tree.appendingPathComponent("fifo\u{1B}[31m\n").path, 0o600) == 0)
            #expect(symlink("a", tree.appendingPathComponent("link").path) == 0)
            // The name is in Latin-1.
            let name = Array("\(tree.path)/caf".utf8CString.dropLast()) + [CChar(bitPattern: 0xE9), 0]
            let descriptor = open(name, O_WRONLY | O_CREAT, 0o600)
            try #require(descriptor >= 0)
            close(descriptor)
            let receiver = try ExampleProcess(
                "receiver",
                ["127.0.0.1:0/q", "--listen", "--directory", copy.path, "--json"]
            )
            let url = "127.0.0.1:\(try await receiver.port())/q"
            let sender = try ExampleProcess("sender", [url, "--directory", tree.path, "--json"])
            #expect(try await sender.waitForExit() == 1)
            #expect(try await receiver.succeed().json()["messages"] == 3)
            let report = try sender.json()
            #expect(report["messages"] == 3)
            #expect(report["accepted"] == 3)
            #expect(report["skipped"] == 2)
            #expect(report["symbolic_links"] == 1)
            #expect(
                Set(sender.errorLines) == [
                    #"sender: left out "caf\xe9": the name is not UTF-8"#,
                    #"sender: left out "fifo\u{1B}[31m\n": it is a FIFO"#,
                    "sender: symbolic links not sent: 1",
                    "sender: entries left out because they could not be sent: 2",
                ]
            )
            #expect(try self.files(copy) == ["a", "below", "below/b", "z"])
        }
    }

    @Test func unreadableFilesAreNamedAndOthersFollow() async throws {
        try await self.withTree { tree, copy in
            for name in ["a", "locked/b", "secret", "z"] { try self.write(name, tree.appendingPathComponent(name)) }
            #expect(chmod(tree.appendingPathComponent("secret").path, 0) == 0)
            #expect(chmod(tree.appendingPathComponent("locked").path, 0) == 0)
            defer { chmod(tree.appendingPathComponent("locked").path, 0o700) }
            // Root can read every file.
            let isRoot = geteuid() == 0
            guard !isRoot || access("/usr/bin/setpriv", X_OK) == 0 else { return }
            let drop = "setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\""
            let receiver = try ExampleProcess(
                "receiver",
                ["127.0.0.1:0/q", "--listen", "--directory", copy.path, "--json"]
            )
            let url = "127.0.0.1:\(try await receiver.port())/q"
            let sender = try ExampleProcess(
                "sender",
                [url, "--directory", tree.path, "--json"],
                redirections: "",
                command: isRoot ? drop : "\"$0\" \"$@\""
            )
            #expect(try await sender.waitForExit() == 1)
            #expect(try await receiver.succeed().json()["messages"] == 2)
            #expect(try sender.json()["accepted"] == 2)
            #expect(try sender.json()["skipped"] == 2)
            #expect(
                Set(sender.errorLines) == [
                    #"sender: left out "secret": Permission denied"#,
                    #"sender: left out "locked": Permission denied"#,
                    "sender: entries left out because they could not be sent: 2",
                ]
            )
            #expect(try self.files(copy) == ["a", "z"])
        }
    }

    @Test func aDeepTreeAndEmptyDirectoriesAreWalked() async throws {
        try await self.withTree { tree, copy in
            let deep = Array(repeating: "d", count: 900).joined(separator: "/") + "/file"
            try self.write("deep", tree.appendingPathComponent(deep))
            try FileManager.default.createDirectory(
                at: tree.appendingPathComponent("empty/below"),
                withIntermediateDirectories: true
            )
            let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--directory", copy.path])
            let url = "127.0.0.1:\(try await receiver.port())/q"
            try await ExampleProcess(
                "sender",
                [url, "--directory", tree.path],
                redirections: "",
                prelude: "ulimit -S -n 256"
            ).succeed()
            try await receiver.succeed()
            #expect(try Data(contentsOf: copy.appendingPathComponent(deep)) == Data("deep".utf8))
            #expect(!FileManager.default.fileExists(atPath: copy.appendingPathComponent("empty").path))
        }
    }

    @Test(arguments: [[], ["--reconnect"]])
    func aFileAboveThePeersLimitIsNamedAndTheOthersFollow(_ options: [String]) async throws {
        try await self.withTree { tree, _ in
            for name in ["a", "z"] { try self.write(name, tree.appendingPathComponent(name)) }
            try self.makeSparse(tree.appendingPathComponent("large"), 3 << 20)
            try self.makeSparse(tree.appendingPathComponent("medium"), 300_000)
            let listener = try await AMQPListener.bind(port: 0)
            let sender = try ExampleProcess(
                "sender",
                ["127.0.0.1:\(listener.port)/q", "--directory", tree.path, "--json"] + options
            )
            try await Self.serve(listener, { $0.maxMessageSize = .kibibytes(100) }) { receiver in
                var count = 0
                while let delivery = try await receiver.next() {
                    count += 1
                    delivery.accept()
                }
                #expect(count == 2)
            }
            #expect(try await sender.waitForExit() == 1)
            #expect(try sender.json()["accepted"] == 2)
            #expect(try sender.json()["skipped"] == 2)
            for name in ["large", "medium"] {
                let start = "sender: left out \"\(name)\": the message has"
                #expect(sender.errorLines.contains { $0.hasPrefix(start) }, "\(sender.errorLines)")
            }
        }
    }

    @Test func aFileThatChangesWhileItIsSentIsAbortedAndNamed() async throws {
        try await self.withTree { tree, _ in
            let file = tree.appendingPathComponent("changing")
            try self.makeSparse(file, 32 << 20)
            let listener = try await AMQPListener.bind(port: 0)
            let sender = try ExampleProcess(
                "sender",
                ["127.0.0.1:\(listener.port)/q", "--directory", tree.path, "--json"]
            )
            try await Self.serve(listener, { $0.streamsMessages = true }) { receiver in
                let delivery = try #require(try await receiver.next())
                var body = delivery.body.makeAsyncIterator()
                #expect(try await body.next(isolation: nil) != nil)
                // The unread part of the file exceeds all buffers.
                #expect(truncate(file.path, 20 << 20) == 0)
                let error = await #expect(throws: AMQPError.self) {
                    while try await body.next(isolation: nil) != nil {}
                }
                #expect(error?.condition == .aborted)
                #expect(try await receiver.next() == nil)
            }
            #expect(try await sender.waitForExit() == 1)
            #expect(sender.errorLines.first == "sender: left out \"changing\": it changed while it was sent")
            #expect(try sender.json()["accepted"] == 0)
            #expect(try sender.json()["skipped"] == 1)
        }
    }

    @Test func aStreamedFileThatChangesIsNamed() async throws {
        try await self.withTree { tree, _ in
            let file = tree.appendingPathComponent("changing")
            for size in [20 << 20, 40 << 20] {
                try self.makeSparse(file, 32 << 20)
                let listener = try await AMQPListener.bind(port: 0)
                let sender = try ExampleProcess("sender", ["127.0.0.1:\(listener.port)/q", "--stream", file.path])
                try await Self.serve(listener, { $0.streamsMessages = true }) { receiver in
                    let delivery = try #require(try await receiver.next())
                    var body = delivery.body.makeAsyncIterator()
                    #expect(try await body.next(isolation: nil) != nil)
                    #expect(truncate(file.path, off_t(size)) == 0)
                    await #expect(throws: AMQPError.self) { while try await body.next(isolation: nil) != nil {} }
                    #expect(try await receiver.next() == nil)
                }
                #expect(try await sender.waitForExit() == 1)
                #expect(sender.errorLines.first == "sender: \(file.path) changed while it was sent")
            }
        }
    }

    /// The system reports wrong sizes for these files: 0, or one page.
    @Test func pseudoFilesAreSentWhole() async throws {
        let (folder, page) = ("/proc/sys/kernel/random", "/sys/kernel/mm/transparent_hugepage/enabled")
        guard FileManager.default.fileExists(atPath: folder + "/boot_id") else { return }
        try await self.withTree { _, copy in
            let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--directory", copy.path])
            let url = "127.0.0.1:\(try await receiver.port())/q"
            try await ExampleProcess("sender", [url, "--directory", folder]).succeed()
            try await receiver.succeed()
            let original = try self.bytes(folder + "/boot_id")
            #expect(original.count == 37)
            #expect(try self.bytes(copy.appendingPathComponent("boot_id").path) == original)
            for file in ["/proc/filesystems", page] where FileManager.default.fileExists(atPath: file) {
                let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--stream", "-"])
                let url = "127.0.0.1:\(try await receiver.port())/q"
                try await ExampleProcess("sender", [url, "--stream", file]).succeed()
                #expect(try await Array(receiver.succeed().output.utf8) == self.bytes(file))
            }
        }
    }

    private func bytes(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        return Array(bytes[..<read(descriptor, &bytes, bytes.count)])
    }

    @Test func anInterruptCountsTheFileInFlight() async throws {
        try await self.withTree { tree, _ in
            for name in ["a", "b"] { try self.makeSparse(tree.appendingPathComponent(name), 1_500_000) }
            let second = Mutex<AMQPDelivery?>(nil)
            try await ExamplesPeer.with { receiver in
                try await receiver.next()?.accept()
                let delivery = try await receiver.next()
                second.withLock { $0 = delivery }
                // The link stays open with its receiver.
                try await receiver.waitUntilClosed()
            } _: { port in
                let options = ["127.0.0.1:\(port)/q", "--directory", tree.path, "--json"]
                let sender = try ExampleProcess("sender", options)
                _ = try await lookUntil("the second file has arrived") { second.withLock { $0 == nil } ? nil : true }
                sender.signal(SIGINT)
                #expect(try await sender.waitForExit() == 130)
                let start = "sender: interrupted: 1 of 2 messages accepted, 1 not settled, 1.4 MiB in "
                #expect(sender.errorLines.last?.hasPrefix(start) == true, "\(sender.errorLines)")
                #expect(try sender.json()["messages"] == 2)
                #expect(try sender.json()["bytes"] == 1_500_000)
            }
        }
    }

    /// Serves the first connection of a listener: calls `body` with its receiver.
    private static func serve(
        _ listener: AMQPListener,
        _ adjust: (inout AMQPReceiver.Configuration) -> Void,
        _ body: (AMQPReceiver) async throws -> Void
    ) async throws {
        let connection = try #require(try await listener.makeAsyncIterator().next(isolation: nil))
        for try await wish in connection.incoming {
            switch wish {
            case .session(let session): try await session.accept()
            case .sender(let sender): sender.refuse(AMQPError(scope: .link, condition: .notAllowed, detail: "not here"))
            case .receiver(let incoming):
                var configuration = AMQPReceiver.Configuration()
                adjust(&configuration)
                try await body(try await incoming.accept(configuration))
                try await connection.waitUntilClosed()
            }
        }
        await listener.close()
    }

    // MARK: Large files

    @Test func aLargeFileNeedsLittleMemoryOnEitherSide() async throws {
        let size = 200 << 20
        try await self.withTree { tree, copy in
            try self.makeSparse(tree.appendingPathComponent("large"), size)
            try self.write("small", tree.appendingPathComponent("small"))
            let receiver = try ExampleProcess(
                "receiver",
                ["127.0.0.1:0/q", "--listen", "--directory", copy.path, "--json"]
            )
            let url = "127.0.0.1:\(try await receiver.port())/q"
            let sender = try ExampleProcess("sender", [url, "--directory", tree.path, "--json"])
            let sent = try await sender.succeed(200).json()
            let received = try await receiver.succeed().json()
            for report in [sent, received] {
                #expect(report["messages"] == 2)
                #expect(report["bytes"] == size + 5)
                #expect(try #require(report["resident_bytes_peak"]) < 100 << 20)
            }
            #expect(try self.files(copy) == ["large", "small"])
            let attributes = try FileManager.default.attributesOfItem(atPath: copy.appendingPathComponent("large").path)
            #expect((attributes[.size] as? NSNumber)?.intValue == size)
        }
    }

    // MARK: The receiver

    @Test(arguments: [300_000, 5_000_000])
    func aFileThatCannotBeWrittenIsNotAcceptedAndLeavesNothing(_ size: Int) async throws {
        try await self.withTree { tree, copy in
            try self.makeSparse(tree.appendingPathComponent("file"), size)
            // The limit is in units of 512 bytes. The system refuses any file beyond it.
            let receiver = try ExampleProcess(
                "receiver",
                ["127.0.0.1:0/q", "--listen", "--directory", copy.path, "--json"],
                redirections: "",
                prelude: "ulimit -f 200"
            )
            let url = "127.0.0.1:\(try await receiver.port())/q"
            let sender = try ExampleProcess("sender", [url, "--directory", tree.path, "--json"])
            #expect(try await sender.waitForExit() == 1)
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines.last == "receiver: cannot write \"file\": File too large")
            #expect(try sender.json()["accepted"] == 0)
            #expect(try receiver.json()["messages"] == 0)
            #expect(try self.files(copy).isEmpty)
        }
    }

    @Test func aFullDiskEndsTheReceiver() async throws {
        try await self.withTree { tree, copy in
            try self.makeSparse(tree.appendingPathComponent("file"), 5_000_000)
            // Only root may mount, and not on every system.
            let options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", copy.path]
            guard (try? ChildProcess.run("/bin/mount", options)) != nil else { return }
            defer { umount(copy.path) }
            let receiver = try ExampleProcess("receiver", ["127.0.0.1:0/q", "--listen", "--directory", copy.path])
            let url = "127.0.0.1:\(try await receiver.port())/q"
            let sender = try ExampleProcess("sender", [url, "--directory", tree.path, "--json"])
            #expect(try await sender.waitForExit() == 1)
            #expect(try await receiver.waitForExit() == 1)
            #expect(receiver.errorLines.contains("receiver: cannot write \"file\": No space left on device"))
            #expect(try sender.json()["accepted"] == 0)
            #expect(try self.files(copy).isEmpty)
        }
    }

    @Test func aFileThatItsSenderAbortsIsNamed() async throws {
        try await self.withTree { _, copy in
            let options = ["127.0.0.1:0/q", "--listen", "--directory", copy.path, "--json"]
            let receiver = try ExampleProcess("receiver", options)
            let url = "127.0.0.1:\(try await receiver.port())"
            try await AMQPConnection.withConnection(to: url) { connection in
                let sender = try await connection.openSession().openSender(to: "q")
                let body = AsyncThrowingStream<ByteBuffer, any Error> { stream in
                    stream.yield(ByteBuffer(repeating: 7, count: 60_000))
                    Task {
                        try await self.waitForPart(copy)
                        stream.finish(throwing: DeadlineMissed(what: "the rest", limit: .zero))
                    }
                }
                await #expect(throws: DeadlineMissed.self) { try await sender.stream(Self.half, body: body) }
                try await sender.close().check()
            }
            try await self.expectIncomplete(receiver, copy)
        }
    }

    @Test func aFileThatIsCutByTheEndOfItsLinkIsNamed() async throws {
        try await self.withTree { _, copy in
            let options = ["127.0.0.1:0", "--listen", "--directory", copy.path, "--json"]
            let receiver = try ExampleProcess("receiver", options)
            let socket = try await ByteSocket.connect(to: receiver.port())
            // These frames reach up to the attach of the link on which the peer sends.
            for part in try FrameBytes.client().prefix(6) { await socket.send(part) }
            let isFlow = { (bytes: [UInt8]) in bytes.indices.contains { bytes[$0...].starts(with: [0, 0x53, 0x13]) } }
            _ = try await lookUntil("the receiver grants credit") { isFlow(socket.bytes) ? true : nil }
            var message = Self.half
            message.bodyBytes = ByteBuffer(repeating: 7, count: 60_000)
            let payload = ByteBuffer(try message.encoded().readableBytesView.prefix(30_000))
            let tag = AMQPValue.binary(ByteBuffer(bytes: [1]))
            let fields: [AMQPValue] = [.uint(0), .uint(0), tag, .uint(0), false, true]
            await socket.send(try Frame(.transfer, fields, payload: payload).bytes())
            try await self.waitForPart(copy)
            await socket.send(try Frame(.detach, [.uint(0), true]).bytes())
            await socket.send(try Frame(.close, []).bytes())
            try await self.expectIncomplete(receiver, copy)
            socket.close()
        }
    }

    private static var half: AMQPMessage {
        var message = AMQPMessage()
        message.properties.subject = "half"
        message.applicationProperties["sha256"] = .string(String(repeating: "0", count: 64))
        return message
    }

    private func waitForPart(_ copy: URL) async throws {
        _ = try await lookUntil("the receiver has begun the file") { try self.files(copy).isEmpty ? nil : true }
    }

    private func expectIncomplete(_ receiver: ExampleProcess, _ copy: URL) async throws {
        #expect(try await receiver.waitForExit() == 1)
        let named = receiver.errorLines.contains { $0.hasPrefix("receiver: incomplete: \"half\": ") }
        #expect(named, "\(receiver.errorLines)")
        #expect(try receiver.json()["aborted"] == 1)
        #expect(try self.files(copy).isEmpty)
    }

    @Test func aStreamedFileWithAWrongDigestOrPathIsRefused() async throws {
        try await self.withTree { tree, copy in
            let receiver = try ExampleProcess(
                "receiver",
                ["127.0.0.1:0/q", "--listen", "--directory", copy.path, "--json"]
            )
            let url = "127.0.0.1:\(try await receiver.port())"
            try await AMQPConnection.withConnection(to: url) { connection in
                let sender = try await connection.openSession().openSender(to: "q")
                let pieces = Array(repeating: ByteBuffer(repeating: 7, count: 60_000), count: 50)
                for path in ["wrong", "../outside"] {
                    var message = AMQPMessage()
                    message.properties.subject = path
                    message.applicationProperties["sha256"] = .string(String(repeating: "0", count: 64))
                    let body = AsyncStream<ByteBuffer> { stream in
                        for piece in pieces { stream.yield(piece) }
                        stream.finish()
                    }
                    let outcome = try await sender.stream(message, body: body)
                    guard case .rejected(let reason) = outcome else {
                        Issue.record("\(path): \(outcome)")
                        continue
                    }
                    #expect(reason?.condition == (path == "wrong" ? .preconditionFailed : .notAllowed))
                }
                try await sender.close().check()
            }
            #expect(try await receiver.waitForExit() == 1)
            #expect(try receiver.json()["mismatches"] == 1)
            #expect(try receiver.json()["refused"] == 1)
            #expect(try self.files(copy).isEmpty)
        }
    }
}
