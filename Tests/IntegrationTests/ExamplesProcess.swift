// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport
import Testing

/// One of the executables of Examples/, built beside the tests, as a process of its own.
final class ExampleProcess: Sendable {
    private struct State {
        var output = Data()
        var errors = Data()
        var status: Int32?
        var openPipes = 2
    }

    /// Proof: the process is set up before it is shared; afterwards it is only asked for its number.
    private struct Handle: @unchecked Sendable { let process: Process }

    let name: String
    private let handle: Handle
    private let state = Mutex(State())

    /// What the process has printed on stdout.
    var output: String { self.state.withLock { String(decoding: $0.output, as: UTF8.self) } }
    /// What the process has printed on stderr.
    var errors: String { self.state.withLock { String(decoding: $0.errors, as: UTF8.self) } }
    /// What the process has printed on stderr, line by line.
    var errorLines: [String] {
        self.state.withLock { String(decoding: $0.errors, as: UTF8.self) }.split(separator: "\n").map(String.init)
    }

    /// - Parameters:
    ///   - outputLimit: Stdout is read no further than this, so that the process must wait when it prints more.
    ///   - terminalWidth: The columns of the terminal that stderr is; nil for a pipe.
    ///   - redirections: What a shell does with the descriptors first, for example `>&-`. The pipes stand in for the others.
    ///   - prelude: What the shell does before that.
    ///   - command: The program and its arguments as the shell calls them.
    ///   - readsErrors: Whether anyone reads stderr. If not, it is a pipe without a reader.
    ///   - isOutputBlocking: Whether writing to a full stdout blocks. If not, it fails with EAGAIN.
    init(
        _ name: String,
        _ arguments: [String],
        input: String? = nil,
        outputLimit: Int = .max,
        terminalWidth: UInt16? = nil,
        redirections: String? = nil,
        prelude: String = "true",
        command: String = "\"$0\" \"$@\"",
        readsErrors: Bool = true,
        isOutputBlocking: Bool = true
    ) throws {
        self.name = name
        let process = Process()
        let program = Self.folder.appendingPathComponent(name)
        process.executableURL = redirections == nil ? program : URL(fileURLWithPath: "/bin/sh")
        let shell = redirections.map { ["-c", "\(prelude); exec \(command) \($0)", program.path] } ?? []
        process.arguments = shell + arguments
        let (input, text) = (Pipe(), input)
        process.standardInput = text == nil ? FileHandle.nullDevice : input
        let output = Pipe()
        process.standardOutput = output
        let end = output.fileHandleForWriting.fileDescriptor
        if !isOutputBlocking { _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK) }
        let terminal = try terminalWidth.map { try Terminal(columns: $0).ends }
        let errors = Pipe()
        // The process closes this side's copy of a pipe's end as soon as it runs.
        if let terminal { process.standardError = terminal.write } else { process.standardError = errors }
        self.handle = Handle(process: process)
        process.terminationHandler = { [weak self] process in
            let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
            self?.state.withLock { $0.status = status }
        }
        if !readsErrors {
            try errors.fileHandleForReading.close()
            self.state.withLock { $0.openPipes -= 1 }
        }
        try process.run()
        try terminal?.write.close()
        if let text {
            try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
            try input.fileHandleForWriting.close()
        }
        self.read(output.fileHandleForReading, to: outputLimit) { $0.output += $1 }
        guard readsErrors else { return }
        self.read(terminal?.read ?? errors.fileHandleForReading, to: .max) { $0.errors += $1 }
    }

    static var folder: URL {
        let link = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        let path = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? link ?? CommandLine.arguments[0]
        var folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        while !FileManager.default.fileExists(atPath: folder.appendingPathComponent("sender").path),
            folder.pathComponents.count > 1
        {
            folder.deleteLastPathComponent()
        }
        return folder
    }

    private func read(_ handle: FileHandle, to limit: Int, _ append: @escaping @Sendable (inout State, Data) -> Void) {
        Thread.detachNewThread {
            var count = 0
            // A terminal that nobody else has open any more ends with an error.
            while count < limit, let data = Self.available(handle), !data.isEmpty {
                count += data.count
                self.state.withLock { append(&$0, data) }
            }
            self.state.withLock { $0.openPipes -= 1 }
            // The pipe must stay open: closing it would end a process that is to wait.
            if limit != .max { while self.state.withLock({ $0.status == nil }) { usleep(10_000) } }
        }
    }

    private static func available(_ handle: FileHandle) -> Data? {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var count = 0
        repeat { count = Foundation.read(handle.fileDescriptor, &bytes, bytes.count) } while count < 0 && errno == EINTR
        return count > 0 ? Data(bytes[..<count]) : nil
    }

    /// What a descriptor of the process is, as Linux names it; nil where it is closed.
    func descriptor(_ number: Int32) -> String? {
        let path = "/proc/\(self.handle.process.processIdentifier)/fd/\(number)"
        return try? FileManager.default.destinationOfSymbolicLink(atPath: path)
    }

    func signal(_ number: Int32) { send(number, to: self.handle.process.processIdentifier) }

    /// Waits for the process to exit, and records a failure after a limit.
    @discardableResult
    func waitForExit(
        _ seconds: Double = 60,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Int32 {
        do {
            return try await lookUntil("\(self.name) ends", seconds, sourceLocation: sourceLocation) {
                self.state.withLock { $0.openPipes == 0 ? $0.status : nil }
            }
        } catch {
            self.signal(SIGKILL)
            throw error
        }
    }

    /// Waits for the end and expects success.
    @discardableResult
    func succeed(
        _ seconds: Double = 60,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> ExampleProcess {
        let status = try await self.waitForExit(seconds, sourceLocation: sourceLocation)
        #expect(status == 0, "\(self.name): \(self.errorLines)", sourceLocation: sourceLocation)
        return self
    }

    /// The port that the process says it listens at.
    func port(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Int {
        try await lookUntil("\(self.name) listens", 30, sourceLocation: sourceLocation) {
            for line in self.errorLines {
                guard let words = line.range(of: "listening on 127.0.0.1:") else { continue }
                return Int(line[words.upperBound...].prefix { $0.isNumber })
            }
            return nil
        }
    }

    /// The whole numbers of the JSON object in the last line of stdout, or of `text`.
    func json(_ text: String? = nil) throws -> [String: Int] {
        try self.object(text).compactMapValues { ($0 as? NSNumber)?.intValue }
    }

    /// A number of the JSON object in the last line of stdout.
    func number(_ key: String) throws -> Double {
        try #require((self.object()[key] as? NSNumber)?.doubleValue, "\(key) in \(self.output)")
    }

    /// How long the link waited, by cause and in seconds.
    func blockedSeconds() throws -> [String: Double] {
        let causes = try #require(self.object()["blocked_seconds"] as? [String: Any], "\(self.output)")
        return causes.compactMapValues { ($0 as? NSNumber)?.doubleValue }
    }

    private func object(_ text: String? = nil) throws -> [String: Any] {
        let line = try #require((text ?? self.output).split(separator: "\n").last)
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
}

/// A terminal of a fixed width, without a person in front of it.
struct Terminal {
    let ends: (read: FileHandle, write: FileHandle)

    init(columns: UInt16) throws {
        // What the kernel knows a terminal by: <asm/ioctls.h> is not there for Swift.
        let (unlock, number) = (UInt(0x4004_5431), UInt(0x8004_5430))
        let front = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(front >= 0)
        var (isLocked, index) = (Int32(0), Int32(0))
        try #require(ioctl(front, unlock, &isLocked) == 0 && ioctl(front, number, &index) == 0)
        let back = open("/dev/pts/\(index)", O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(back >= 0)
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        try #require(ioctl(back, UInt(TIOCSWINSZ), &size) == 0)
        self.ends = (
            FileHandle(fileDescriptor: front, closeOnDealloc: true),
            FileHandle(fileDescriptor: back, closeOnDealloc: true)
        )
    }
}

/// Waits until a condition holds, looking again and again; records a failure and throws when it does not in time.
func lookUntil<Value>(
    _ what: String,
    _ seconds: Double = 30,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Value?
) async throws -> Value {
    do {
        return try await waitFor(what, within: .seconds(seconds)) { try condition() }
    } catch let error as DeadlineMissed {
        Issue.record(error, sourceLocation: sourceLocation)
        throw error
    }
}

/// A broker for one test, on a port of its own.
func withBroker(
    _ arguments: [String] = [],
    _ body: (_ broker: ExampleProcess, _ url: String) async throws -> Void
) async throws {
    let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0", "--json"] + arguments)
    do {
        try await body(broker, "amqp://127.0.0.1:\(broker.port())")
    } catch {
        broker.signal(SIGKILL)
        throw error
    }
    broker.signal(SIGTERM)
    try await broker.succeed()
}
