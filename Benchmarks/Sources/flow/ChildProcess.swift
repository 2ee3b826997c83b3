// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A process of its own. It ends with this one, or when nobody keeps it any more.
final class ChildProcess: Sendable {
    /// Proof: the process is set up before it is shared; afterwards it is only asked for its state.
    private struct Handle: @unchecked Sendable {
        let process: Process
        let input: Pipe
    }

    private let handle: Handle
    private let exits: AsyncStream<Int32>
    /// What the process prints, line by line.
    let lines: AsyncStream<String>

    /// This program once more.
    ///
    /// - Parameter arguments: Those of a subcommand, with its name.
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

    /// The next line with this word at its start; prints the others. Returns what follows the word, nil at the end.
    func line(_ word: String) async -> String? {
        for await line in self.lines {
            if line.hasPrefix("\(word) ") { return String(line.dropFirst(word.count + 1)) }
            Output.line(line)
        }
        return nil
    }

    /// The port that the process says it listens on.
    func port() async throws -> Int {
        guard let port = await self.line("port").flatMap({ Int($0) }) else { throw Failure("a process did not listen") }
        return port
    }

    /// Prints what the process prints until it ends. Returns its exit code.
    func end() async -> Int32 {
        for await line in self.lines { Output.line(line) }
        for await exit in self.exits { return exit }
        return -1
    }
}

/// A failure with a text of one line.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ text: String) {
        self.description = text
    }
}
