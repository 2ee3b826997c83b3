// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A separate process, which ends with this process or when its last reference is released.
final class ChildProcess: Sendable {
    /// Sendable: the process is configured before it is shared, and afterwards only its state is read.
    private struct Handle: @unchecked Sendable {
        let process: Process
        let input: Pipe
    }

    private let handle: Handle
    private let exits: AsyncStream<Int32>
    /// The lines that the process prints.
    let lines: AsyncStream<String>

    /// Starts this program again.
    ///
    /// - Parameter arguments: The name of a subcommand and its arguments.
    convenience init(_ arguments: [String]) throws {
        try self.init(FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"), arguments)
    }

    init(_ path: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        let (exits, exit) = AsyncStream.makeStream(of: Int32.self)
        process.terminationHandler = { process in
            exit.yield(process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus)
            exit.finish()
        }
        self.handle = Handle(process: process, input: input)
        self.exits = exits
        try process.run()
        let reader = output.fileHandleForReading
        self.lines = AsyncStream { continuation in
            Thread.detachNewThread {
                var rest = Data()
                while case let data = reader.availableData, !data.isEmpty {
                    rest += data
                    while let feed = rest.firstIndex(of: 10) {
                        continuation.yield(String(decoding: rest[..<feed], as: UTF8.self))
                        rest = Data(rest[(feed + 1)...])
                    }
                }
                continuation.finish()
            }
        }
    }

    deinit {
        if self.handle.process.isRunning { self.handle.process.terminate() }
    }

    /// Waits for the next line that starts with a word, and prints the other lines. Returns the text after the word;
    /// `nil` at the end.
    func line(_ word: String) async -> String? {
        for await line in self.lines {
            if line.hasPrefix("\(word) ") { return String(line.dropFirst(word.count + 1)) }
            Output.line(line)
        }
        return nil
    }

    /// Waits for the port that the process prints when it listens.
    func port() async throws -> Int {
        guard let port = await self.line("port").flatMap({ Int($0) }) else { throw Failure("a process did not listen") }
        return port
    }

    /// Prints the output of the process until it ends. Returns its exit code.
    func end() async -> Int32 {
        for await line in self.lines { Output.line(line) }
        for await exit in self.exits { return exit }
        return -1
    }
}

/// A failure with a one-line text.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ text: String) {
        self.description = text
    }
}
