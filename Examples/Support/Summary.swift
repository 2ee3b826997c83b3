// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// One line about the whole run: `75 of 2,000 messages accepted, 1,925 not settled, 73.2 KiB in 75.1 s (1/s)`.
package struct Summary {
    private var parts: [String]
    private let done: Int

    /// - Parameters:
    ///   - verb: The word for the completed work on a message, for example "accepted".
    ///   - done: The finished messages.
    ///   - total: All messages; `nil` if their number is unknown.
    package init(_ verb: String, _ done: Int, of total: Int?) {
        let count = total.map { "\(Units.count(done)) of \(Units.messages($0))" } ?? Units.messages(done)
        self.parts = ["\(count) \(verb)"]
        self.done = done
    }

    /// Adds a number that is not zero.
    package mutating func add(_ count: Int, _ what: String) {
        if count > 0 { self.parts.append("\(Units.count(count)) \(what)") }
    }

    /// Returns the line.
    ///
    /// - Parameter bytes: The bytes of the messages' bodies.
    package func line(bytes: Int, _ duration: Duration) -> String {
        if self.done == 0 { return self.parts.joined(separator: ", ") }
        let seconds = duration.inSeconds
        let rate = self.done > 1 && seconds >= 0.001 ? " (\(Units.rate(Double(self.done) / seconds)))" : ""
        let time = seconds < 60 ? String(format: "%.1f s", seconds) : Units.time(seconds)
        return (self.parts + ["\(Units.bytes(bytes)) in \(time)\(rate)"]).joined(separator: ", ")
    }
}

/// The end of a run: lines on stderr, then the JSON object, and the exit code.
package struct Ending {
    private let name: String
    private let failure: (any Error)?
    private let summary: String
    private let hasBegun: Bool

    /// - Parameters:
    ///   - name: The name of the program.
    ///   - failure: The cause of unfinished work; `nil` for success.
    ///   - summary: One line about the whole run.
    ///   - hasBegun: Whether a link was open. Without a link there is no summary.
    package init(_ name: String, _ failure: (any Error)?, _ summary: String, hasBegun: Bool) {
        self.name = name
        self.failure = failure
        self.summary = summary
        self.hasBegun = hasBegun
    }

    /// Prints the lines. Throws if the exit code is not 0.
    ///
    /// - Parameters:
    ///   - report: The JSON object, which is printed last; `nil` prints the summary instead.
    ///   - isOnStandardError: Whether the object is printed on stderr, because stdout carries the data.
    package func finish(_ report: Report?, isOnStandardError: Bool = false) throws {
        var code = self.printLines(isQuiet: report != nil)
        var report = report
        if let failure = self.failure {
            let isInterrupt = Program.isInterrupted && Program.isCancellation(failure)
            report?.add("error", isInterrupt ? "interrupted" : Program.text(of: failure))
        }
        do {
            try report?.print(toStandardError: isOnStandardError)
        } catch {
            Console.error("\(self.name): \(error)")
            if code == 0 { code = 1 }
        }
        if code != 0 { throw ExitCode(code) }
    }

    /// Returns the exit code.
    private func printLines(isQuiet: Bool) -> Int32 {
        let line = "\(self.name): \(self.summary)"
        guard let failure = self.failure else {
            if !isQuiet { Console.error(line) }
            return 0
        }
        if Program.isInterrupted, Program.isCancellation(failure) {
            Console.error("\(self.name): interrupted: \(self.hasBegun ? self.summary : "no link was open yet")")
            return Program.interruptedExitCode
        }
        Console.error("\(self.name): \(Program.text(of: failure))")
        if self.hasBegun, !isQuiet { Console.error(line) }
        return Program.isInterrupted ? Program.interruptedExitCode : (failure as? Failure)?.exitCode ?? 1
    }
}
