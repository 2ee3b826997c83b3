// SPDX-License-Identifier: Apache-2.0

import ExampleFiles
import ExampleSupport
import Foundation

/// Runs the other executables to relay one tree.
struct Relay {
    let source: String
    let files: Int
    let showsProgress: Bool

    private func path(_ program: String) -> String {
        let own = Bundle.main.executablePath ?? CommandLine.arguments[0]
        return (own as NSString).deletingLastPathComponent + "/" + program
    }

    /// Sends the tree through a broker.
    func throughBroker(to copy: String) async throws -> Row {
        let broker = try Child([self.path("broker"), "--listen", "127.0.0.1:0", "--json"])
        return try await self.whileRunning(broker) {
            let url = try await "amqp://127.0.0.1:\(broker.port())/demo"
            let receiver = try self.start("receiver", url, ["--directory", copy, "--count", "\(self.files)"])
            return try await self.relay("through the broker", url, receiver, to: copy)
        }
    }

    /// Sends the tree to a receiver that listens itself.
    func directly(to copy: String) async throws -> Row {
        let receiver = try self.start("receiver", "amqp://127.0.0.1:0/demo", ["--listen", "--directory", copy])
        return try await self.whileRunning(receiver) {
            try await self.relay("directly", "amqp://127.0.0.1:\(receiver.port())/demo", receiver, to: copy)
        }
    }

    private func start(_ program: String, _ url: String, _ arguments: [String]) throws -> Child {
        let options = self.showsProgress ? ["--progress", "--json"] : ["--json"]
        return try Child([self.path(program), url] + arguments + options, passesErrors: self.showsProgress)
    }

    private func relay(_ route: String, _ url: String, _ receiver: Child, to copy: String) async throws -> Row {
        try await self.whileRunning(receiver) {
            let clock = ContinuousClock()
            let start = clock.now
            let sender = try self.start("sender", url, ["--directory", self.source])
            let sent = try await sender.waitForEnd()
            try sent.check()
            let received = try await receiver.waitForEnd()
            try received.check()
            return Row(
                route: route,
                copy: copy,
                files: received.number("messages"),
                bytes: received.number("bytes"),
                seconds: clock.now - start,
                peakBuffered: max(sent.number("outgoing_bytes_peak"), received.number("buffered_bytes_peak")),
                peakResident: max(sent.number("resident_bytes_peak"), received.number("resident_bytes_peak"))
            )
        }
    }

    /// Runs `body`, then ends the process, even if `body` throws.
    private func whileRunning<Result>(_ child: Child, _ body: () async throws -> Result) async throws -> Result {
        do {
            let result = try await body()
            _ = await child.stop()
            return result
        } catch {
            _ = await child.stop()
            throw error
        }
    }
}

/// Trees of files.
enum Tree {
    /// Returns the number of regular files below a folder.
    static func count(_ folder: String) throws -> Int {
        let walker = try TreeWalker(folder)
        var count = 0
        while let found = walker.next() {
            if case .file = found { count += 1 }
        }
        return count
    }

    /// Returns the differences between the regular files of two folders: paths, bytes or permissions.
    static func compare(_ original: String, _ copy: String) throws -> [String] {
        var differences: [String] = []
        let walker = try TreeWalker(original)
        var count = 0
        while let found = walker.next() {
            guard case .file(let file) = found else { continue }
            count += 1
            guard let twin = try? TreeFile("\(copy)/\(file.path)", path: file.path) else {
                differences.append("\(file.path) is missing")
                continue
            }
            if try twin.size != file.size || twin.digest() != file.digest() {
                differences.append("\(file.path) has other bytes")
            }
            if twin.permissions != file.permissions { differences.append("\(file.path) has other permissions") }
        }
        let surplus = try self.count(copy) - count
        if surplus > 0, differences.isEmpty { differences.append("the copy has \(surplus) files more") }
        return differences
    }
}
