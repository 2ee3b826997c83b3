// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// A process of another program. It is killed with its last reference.
package final class ChildProcess: Sendable {
    /// Proof: the process is set up before it is shared; afterwards it is only asked for its state.
    private struct Handle: @unchecked Sendable { let process: Process }

    package let name: String
    private let handle: Handle
    private let standardOutput: any ProcessOutput
    private let standardError: any ProcessOutput

    /// Starts a program; `environment` is beside that of the tests. Its output goes to files unless the caller gives pipes.
    package init(
        _ executable: String,
        _ arguments: [String],
        named name: String? = nil,
        in folder: URL? = nil,
        input: ProcessInput = .null,
        output: (any ProcessOutput)? = nil,
        errors: (any ProcessOutput)? = nil,
        environment: [String: String] = [:]
    ) throws {
        self.name = name ?? URL(fileURLWithPath: arguments.first ?? executable).lastPathComponent
        self.standardOutput = try output ?? FileOutput()
        self.standardError = try errors ?? FileOutput()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = self.standardOutput.end
        process.standardError = self.standardError.end
        self.handle = Handle(process: process)
        switch input {
        case .null:
            process.standardInput = FileHandle.nullDevice
            try process.run()
        case .file(let text):
            let folder = try TemporaryFolder()
            try Data(text.utf8).write(to: folder.file("input"))
            process.standardInput = try FileHandle(forReadingFrom: folder.file("input"))
            // From then on the file lives on without a name.
            try process.run()
        case .pipe(let text):
            let pipe = Pipe()
            process.standardInput = pipe
            try process.run()
            try pipe.fileHandleForWriting.write(contentsOf: Data(text.utf8))
            try pipe.fileHandleForWriting.close()
        }
        try self.standardOutput.start()
        try self.standardError.start()
    }

    deinit {
        self.kill()
    }

    /// What the process has printed on stdout.
    package var output: String { String(decoding: self.standardOutput.bytes, as: UTF8.self) }
    /// What the process has printed on stdout, line by line.
    package var lines: [String] { self.output.split(separator: "\n").map(String.init) }
    /// What the process has printed on stderr.
    package var errors: String { String(decoding: self.standardError.bytes, as: UTF8.self) }
    /// What the process has printed on stderr, line by line.
    package var errorLines: [String] { self.errors.split(separator: "\n").map(String.init) }

    package var number: Int32 { self.handle.process.processIdentifier }
    package var isRunning: Bool { self.handle.process.isRunning }

    /// How the process ended, below 0 with a signal; nil until it has, and all that it printed has been read.
    package var status: Int32? {
        let process = self.handle.process
        guard !process.isRunning, self.standardOutput.isComplete, self.standardError.isComplete else { return nil }
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    /// Ends the process at once, as a crash would.
    package func kill() { self.signal(SIGKILL) }

    package func signal(_ number: Int32) {
        if self.isRunning { send(number, to: self.number) }
    }

    /// What a descriptor of the process is, as Linux names it; nil where it is closed.
    package func descriptor(_ number: Int32) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(self.number)/fd/\(number)")
    }

    // MARK: Waiting

    /// Waits for the process to end well; throws, with what it said on stderr, when it does not.
    package func waitForSuccess(within limit: Duration = .seconds(60)) async throws {
        do {
            try await waitUntil("\(self.name) ends", within: limit) { self.status != nil }
        } catch {
            self.kill()
            throw ProcessFailure(name: self.name, cause: "\(error)", errors: self.errors)
        }
        try self.check()
    }

    /// Waits until stderr has what the expression's first group matches, and returns that.
    package func waitForErrors(matching expression: Regex<(Substring, Substring)>) async throws -> String {
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

    /// Runs a program to its end, which blocks the thread, and returns what it printed; throws when it does not end well.
    @discardableResult
    package static func run(_ executable: String, _ arguments: [String], in folder: URL? = nil) throws -> String {
        let process = try ChildProcess(executable, arguments, in: folder)
        process.handle.process.waitUntilExit()
        try process.check()
        return process.output
    }

    private func check() throws {
        guard let status = self.status, status != 0 else { return }
        throw ProcessFailure(name: self.name, cause: "it ended with \(status)", errors: self.errors)
    }
}

/// A program did not do what the test needs of it.
package struct ProcessFailure: Error, CustomStringConvertible {
    package let name: String
    package let cause: String
    package let errors: String

    package init(name: String, cause: String, errors: String) {
        self.name = name
        self.cause = cause
        self.errors = errors
    }

    package var description: String {
        let remedy = self.errors.contains("No module named") ? " (remedy: run dev/setup --tests)" : ""
        return "\(self.name): \(self.cause)\(remedy); it said on stderr: \(self.errors)"
    }
}

/// A program that a test needs is not there.
package struct MissingProgram: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}
