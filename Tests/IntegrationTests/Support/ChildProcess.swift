// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// A process of another program: its output goes to files, so that it never has to wait for its reader.
///
/// It is killed when nobody keeps it any more.
final class ChildProcess: Sendable {
    /// Proof: the process is set up before it is shared; afterwards it is only asked for its state.
    private struct Handle: @unchecked Sendable { let process: Process }

    let name: String
    private let handle: Handle
    private let folder: TemporaryFolder

    /// Starts a program; `environment` is beside that of the tests.
    init(
        _ executable: String,
        _ arguments: [String],
        input: String = "",
        environment: [String: String] = [:]
    ) throws {
        self.name = URL(fileURLWithPath: arguments.first ?? executable).lastPathComponent
        self.folder = try TemporaryFolder()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        for name in ["input", "output", "errors"] {
            try Data(name == "input" ? Array(input.utf8) : []).write(to: self.folder.file(name))
        }
        process.standardInput = try FileHandle(forReadingFrom: self.folder.file("input"))
        process.standardOutput = try FileHandle(forWritingTo: self.folder.file("output"))
        process.standardError = try FileHandle(forWritingTo: self.folder.file("errors"))
        self.handle = Handle(process: process)
        try process.run()
    }

    deinit {
        self.kill()
    }

    /// What the process has printed on stdout.
    var output: String { self.text("output") }
    /// What the process has printed on stdout, line by line.
    var lines: [String] { self.output.split(separator: "\n").map(String.init) }
    /// What the process has printed on stderr.
    var errors: String { self.text("errors") }
    var isRunning: Bool { self.handle.process.isRunning }

    private func text(_ file: String) -> String {
        String(decoding: (try? Data(contentsOf: self.folder.file(file))) ?? Data(), as: UTF8.self)
    }

    /// Ends the process at once, as a crash would.
    func kill() { self.signal(SIGKILL) }

    func signal(_ number: Int32) {
        if self.isRunning { send(number, to: self.handle.process.processIdentifier) }
    }

    /// Waits for the process to end well; throws, with what it said on stderr, when it does not.
    func waitForSuccess(within limit: Duration = .seconds(60)) async throws {
        do {
            try await waitUntil("\(self.name) ends", within: limit) { !self.isRunning }
        } catch {
            self.kill()
            throw ProcessFailure(name: self.name, cause: "\(error)", errors: self.errors)
        }
        let process = self.handle.process
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
            let cause = "it ended with \(process.terminationStatus)"
            throw ProcessFailure(name: self.name, cause: cause, errors: self.errors)
        }
    }

    /// Waits until stderr has what the expression's first group matches, and returns that.
    func waitForErrors(matching expression: Regex<(Substring, Substring)>) async throws -> String {
        var found: String?
        do {
            try await waitUntil("\(self.name) prints what is expected") {
                found = self.errors.firstMatch(of: expression).map { String($0.1) }
                return found != nil || !self.isRunning
            }
        } catch {
            throw ProcessFailure(name: self.name, cause: "\(error)", errors: self.errors)
        }
        guard let found else { throw ProcessFailure(name: self.name, cause: "it has ended", errors: self.errors) }
        return found
    }
}

/// A program did not do what the test needs of it.
struct ProcessFailure: Error, CustomStringConvertible {
    let name: String
    let cause: String
    let errors: String

    var description: String {
        let remedy = self.errors.contains("No module named") ? " (remedy: run dev/setup --tests)" : ""
        return "\(self.name): \(self.cause)\(remedy); it said on stderr: \(self.errors)"
    }
}
