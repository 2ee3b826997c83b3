// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// One of the executables of Examples/, built beside the tests, as a process of its own.
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

    /// What a descriptor of the process is, as Linux names it; nil where it is closed.
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
