// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import Foundation
import NIOCore

/// A process that this one has started.
final class Child: Sendable {
    /// The output of a process, and its end.
    struct End: Sendable {
        let name: String
        let status: Int32
        let output: String
        let errors: String

        /// Returns a number in the JSON object of stdout's last line; 0 without one.
        func number(_ key: String) -> Int {
            guard let line = Self.lines(self.output).last,
                let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            else { return 0 }
            return (object[key] as? NSNumber)?.intValue ?? 0
        }

        /// Throws the last line of a failed process.
        func check() throws {
            guard self.status != 0 else { return }
            // A terminal's Ctrl-C reaches the children too.
            if Program.isInterrupted { throw CancellationError() }
            throw Failure(Self.lines(self.errors).last ?? "\(self.name) ended with code \(self.status)")
        }

        private static func lines(_ text: String) -> [String] {
            text.utf8.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// Sendable: the process is set up before it is shared; afterwards only its number and its state are read.
    private struct Handle: @unchecked Sendable { let process: Process }

    private let handle: Handle
    private let errorLines: AsyncStream<String>
    private let end: Task<End, Never>

    /// Starts a program of the search path, or of a path with a slash.
    ///
    /// - Parameter passesErrors: Whether the child's stderr is also passed to this process's stderr.
    init(_ arguments: [String], passesErrors: Bool = false) throws {
        let process = Process()
        let isPath = arguments[0].contains("/")
        process.executableURL = URL(fileURLWithPath: isPath ? arguments[0] : "/usr/bin/env")
        process.arguments = isPath ? Array(arguments.dropFirst()) : arguments
        process.standardInput = FileHandle.nullDevice
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        let (exits, exit) = AsyncStream.makeStream(of: Int32.self)
        process.terminationHandler = { process in
            exit.yield(process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus)
            exit.finish()
        }
        do {
            try process.run()
        } catch {
            throw Failure("cannot start \(arguments[0]): build all products first, with 'swift build'")
        }
        self.handle = Handle(process: process)
        let (lines, line) = AsyncStream.makeStream(of: String.self)
        self.errorLines = lines
        let outputChunks = Self.chunks(of: output.fileHandleForReading)
        let errorChunks = Self.chunks(of: errors.fileHandleForReading)
        let name = (arguments[0] as NSString).lastPathComponent
        // Separate tasks collect the output, because a cancellation must not hide the ends of the processes.
        let outputText = Task {
            var data = Data()
            for await chunk in outputChunks { data += chunk }
            return String(decoding: data, as: UTF8.self)
        }
        self.end = Task {
            var (text, rest) = (Data(), ByteBuffer())
            var searched = 0
            for await chunk in errorChunks {
                text += chunk
                rest.writeBytes(chunk)
                while let next = rest.readLine(searched: &searched, isAtEnd: false) {
                    let shown = String(buffer: next)
                    if passesErrors { Console.write(shown + "\n") }
                    line.yield(shown)
                }
                rest.discardReadBytes()
            }
            line.finish()
            var status: Int32 = 0
            for await exit in exits { status = exit }
            let errors = String(decoding: text, as: UTF8.self)
            return End(name: name, status: status, output: await outputText.value, errors: errors)
        }
    }

    /// Reads a pipe to its end, on a thread of its own.
    private static func chunks(of handle: FileHandle) -> AsyncStream<Data> {
        AsyncStream { continuation in
            Thread.detachNewThread {
                let file = File(descriptor: handle.fileDescriptor, isOwned: false)
                while true {
                    var bytes = ByteBuffer()
                    let count = (try? file.read(into: &bytes, count: 65_536, what: "a pipe")) ?? 0
                    guard count > 0 else { break }
                    continuation.yield(Data(bytes.readableBytesView))
                }
                withExtendedLifetime(handle) { continuation.finish() }
            }
        }
    }

    /// Waits until the process reports the port on which it listens, and returns that port.
    func port() async throws -> Int {
        for await line in self.errorLines {
            guard let words = line.range(of: "listening on ") else { continue }
            let place = line[words.upperBound...].prefix { $0 != ";" && $0 != " " }
            if let colon = place.lastIndex(of: ":"), let port = Int(place[place.index(after: colon)...]) { return port }
        }
        try Task.checkCancellation()
        try await self.waitForEnd().check()
        throw Failure("a process ended before it listened")
    }

    /// Waits for the end of the process. Cancellation ends the process.
    func waitForEnd() async throws -> End {
        let end = await withTaskCancellationHandler {
            await self.end.value
        } onCancel: {
            self.terminate()
        }
        try Task.checkCancellation()
        return end
    }

    /// Ends the process in order, and by force after 5 s. Waits until it has ended.
    func stop() async -> End {
        self.terminate()
        return await self.end.value
    }

    private func terminate() {
        let process = self.handle.process
        guard process.isRunning else { return }
        kill(process.processIdentifier, SIGTERM)
        let handle = self.handle
        Task {
            try? await Task.sleep(for: .seconds(5))
            if handle.process.isRunning { kill(handle.process.processIdentifier, SIGKILL) }
        }
    }

    /// Runs a program and returns its stdout.
    static func output(of arguments: [String]) async throws -> String {
        let end = try await Child(arguments).waitForEnd()
        try end.check()
        return end.output
    }

    /// Runs a program and returns its stdout; `nil` if it fails.
    static func outputIfSuccessful(of arguments: [String]) async throws -> String? {
        let end = try await Child(arguments).waitForEnd()
        return end.status == 0 ? end.output : nil
    }
}
