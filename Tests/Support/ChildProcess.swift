// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// A process of another program, killed when the last reference is released.
package final class ChildProcess: Sendable {
    /// Proof: the process is set up before it is shared. Afterwards the code only reads its state.
    private struct Handle: @unchecked Sendable { let process: Process }

    package let name: String
    private let handle: Handle
    private let standardOutput: any ProcessOutput
    private let standardError: any ProcessOutput

    /// Starts a program with `environment` in addition to that of the tests. The default outputs are files.
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
            // The process keeps the file open after the folder is removed.
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

    /// The text that the process has printed on stdout.
    package var output: String { String(decoding: self.standardOutput.bytes, as: UTF8.self) }
    /// The lines that the process has printed on stdout.
    package var lines: [String] { self.output.split(separator: "\n").map(String.init) }
    /// The text that the process has printed on stderr.
    package var errors: String { String(decoding: self.standardError.bytes, as: UTF8.self) }
    /// The lines that the process has printed on stderr.
    package var errorLines: [String] { self.errors.split(separator: "\n").map(String.init) }

    package var number: Int32 { self.handle.process.processIdentifier }
    package var isRunning: Bool { self.handle.process.isRunning }

    /// The exit status, or the negative number of the signal; `nil` until the process has ended and its output is read.
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

    /// Returns the file behind a descriptor of the process, as Linux names it; `nil` if the descriptor is closed.
    package func descriptor(_ number: Int32) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(self.number)/fd/\(number)")
    }

    // MARK: Waiting

    /// Suspends until the process ends. Throws with the text of stderr unless the process succeeds.
    package func waitForSuccess(within limit: Duration = .seconds(60)) async throws {
        do {
            try await waitUntil("\(self.name) ends", within: limit) { self.status != nil }
        } catch {
            self.kill()
            throw ProcessFailure(name: self.name, cause: "\(error)", errors: self.errors)
        }
        try self.check()
    }

    /// Suspends until the expression matches stderr, and returns the text of its first group.
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

    /// Runs a program and returns the text of stdout. Blocks the thread. Throws unless the program succeeds.
    @discardableResult
    package static func run(_ executable: String, _ arguments: [String], in folder: URL? = nil) throws -> String {
        let process = try ChildProcess(executable, arguments, in: folder)
        process.handle.process.waitUntilExit()
        try process.check()
        return process.output
    }

    private func check() throws {
        guard self.status != 0 else { return }
        let cause = self.status.map { "it ended with \($0)" } ?? "it has not ended, or its output is incomplete"
        throw ProcessFailure(name: self.name, cause: cause, errors: self.errors)
    }
}

/// The error of a program that ended too early, too late or with a failure.
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
        return "\(self.name): \(self.cause)\(remedy); stderr: \(self.errors)"
    }
}

/// The error of a test whose program is missing.
package struct MissingProgram: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}
