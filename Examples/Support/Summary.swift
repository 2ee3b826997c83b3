import ArgumentParser
import Foundation

/// One line about the whole run: `75 of 2,000 messages accepted, 1,925 not settled, 73.2 KiB in 75.1 s (1/s)`.
package struct Summary {
    private var parts: [String]
    private let done: Int

    /// - Parameters:
    ///   - verb: What was to be done with each message, for example "accepted".
    ///   - done: The messages with which it was done.
    ///   - total: How many there were; nil where that is not known.
    package init(_ verb: String, _ done: Int, of total: Int?) {
        let count = total.map { "\(Units.count(done)) of \(Units.count($0))" } ?? Units.count(done)
        self.parts = ["\(count) \((total ?? done) == 1 ? "message" : "messages") \(verb)"]
        self.done = done
    }

    /// Adds a number that is not zero.
    package mutating func add(_ count: Int, _ what: String) {
        if count > 0 { self.parts.append("\(Units.count(count)) \(what)") }
    }

    /// The line.
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

/// The end of a run that had a link: lines on stderr, and the exit code.
package struct Ending {
    private let name: String
    private let failure: (any Error)?
    private let summary: String
    private let isQuiet: Bool
    private let hasBegun: Bool

    /// - Parameters:
    ///   - name: The name of the program.
    ///   - failure: Why not everything was done that was asked for; nil for success.
    ///   - isQuiet: Whether a JSON object holds the figures, so that the summary is left out.
    ///   - hasBegun: Whether a link was open: without one there is nothing to sum up.
    package init(_ name: String, _ failure: (any Error)?, _ summary: String, isQuiet: Bool, hasBegun: Bool) {
        self.name = name
        self.failure = failure
        self.summary = summary
        self.isQuiet = isQuiet
        self.hasBegun = hasBegun
    }

    /// Prints the lines; throws where the exit code is not 0.
    package func finish() throws {
        let line = "\(self.name): \(self.summary)"
        guard let failure = self.failure else {
            if !self.isQuiet { Console.error(line) }
            return
        }
        if Program.isInterrupted, Program.isCancellation(failure) {
            let rest = self.hasBegun ? self.summary : "no link was open yet"
            throw Failure("interrupted: \(rest)", exitCode: Program.interruptedExitCode)
        }
        Console.error("\(self.name): \(Program.text(of: failure))")
        if self.hasBegun, !self.isQuiet { Console.error(line) }
        throw ExitCode(Program.isInterrupted ? Program.interruptedExitCode : (failure as? Failure)?.exitCode ?? 1)
    }
}
