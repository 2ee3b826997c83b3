// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// A process of one of the executables of Examples/, which are built beside the tests.
final class ExampleProcess: Sendable {
    let name: String
    private let process: ChildProcess

    /// What the process has printed on stdout.
    var output: String { self.process.output }
    /// What the process has printed on stderr.
    var errors: String { self.process.errors }
    /// What the process has printed on stderr, line by line.
    var errorLines: [String] { self.process.errorLines }

    /// - Parameters:
    ///   - outputLimit: The most bytes that the test reads from stdout. A process that prints more must wait.
    ///   - terminalWidth: The columns of a terminal as stderr; `nil` for a pipe.
    ///   - redirections: The redirections of a shell before the program, such as `>&-`; `nil` to run without a shell.
    ///   - prelude: The commands that the shell runs first.
    ///   - command: The command line of the program in the shell.
    ///   - readsErrors: Whether the test reads stderr. If not, stderr is a pipe without a reader.
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
        let program = Self.folder.appendingPathComponent(name).path
        let shell = redirections.map { ["-c", "\(prelude); exec \(command) \($0)", program] } ?? []
        self.process = try ChildProcess(
            redirections == nil ? program : "/bin/sh",
            shell + arguments,
            named: name,
            input: input.map(ProcessInput.pipe) ?? .null,
            output: PipeOutput(limit: outputLimit, isBlocking: isOutputBlocking),
            errors: PipeOutput(terminalWidth: terminalWidth, isRead: readsErrors)
        )
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

    /// Returns the file behind a descriptor of the process, as Linux names it; `nil` if the descriptor is closed.
    func descriptor(_ number: Int32) -> String? { self.process.descriptor(number) }

    func signal(_ number: Int32) { self.process.signal(number) }

    /// Waits for the process to exit, and records a failure after a limit.
    @discardableResult
    func waitForExit(
        _ seconds: Double = 60,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Int32 {
        do {
            return try await lookUntil("\(self.name) ends", seconds, sourceLocation: sourceLocation) {
                self.process.status
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

    /// Returns the port on which the process reports that it listens.
    func port(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Int {
        try await lookUntil("\(self.name) listens", 30, sourceLocation: sourceLocation) {
            for line in self.errorLines {
                guard let words = line.range(of: "listening on 127.0.0.1:") else { continue }
                return Int(line[words.upperBound...].prefix { $0.isNumber })
            }
            return nil
        }
    }

    /// Returns the whole numbers of the JSON object in the last line of stdout, or of `text`.
    func json(_ text: String? = nil) throws -> [String: Int] {
        try self.object(text).compactMapValues { ($0 as? NSNumber)?.intValue }
    }

    /// Returns a number of the JSON object in the last line of stdout.
    func number(_ key: String) throws -> Double {
        try #require((self.object()[key] as? NSNumber)?.doubleValue, "\(key) in \(self.output)")
    }

    /// Returns how long the link waited, by cause and in seconds.
    func blockedSeconds() throws -> [String: Double] {
        let causes = try #require(self.object()["blocked_seconds"] as? [String: Any], "\(self.output)")
        return causes.compactMapValues { ($0 as? NSNumber)?.doubleValue }
    }

    private func object(_ text: String? = nil) throws -> [String: Any] {
        let line = try #require((text ?? self.output).split(separator: "\n").last)
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
}

/// Suspends until `condition` returns a value. Records a failure and throws after the limit.
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

/// Runs `body` with a broker on a free port.
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
