// SPDX-License-Identifier: Apache-2.0

package import QpidProton
import Synchronization

/// Reports a client's losses and recoveries on stderr, and counts them.
package final class OutageReport: Sendable {
    fileprivate struct State {
        var losses = 0
        var linkLosses = 0
        var failedAttempts = 0
        var inDoubt = 0
        var replayed = 0
        var down = Duration.zero
        /// The attempts since the start or the last loss, and the URL of the last attempt.
        var attempt = 0
        var url: AMQPURL?
        /// Whether the report has shown no loss since the last recovery.
        var isUp = false
        /// Failed attempts after a loss whose figures have not arrived yet.
        var held: [String] = []
        /// The error of the attempt that ended the client, and the line about it; `nil` while no attempt has.
        var fatal: (error: AMQPError, line: String)?
    }

    /// The client's log messages that this report replaces with its own words.
    package static let logged: Set = [
        "connecting failed", "the connection was lost", "a link was lost", "a link has ended for good",
        "the client has ended", "the client has closed with unfinished work",
    ]

    private let program: String
    private let state = Mutex(State())

    /// - Parameter program: The name at the start of each line.
    package init(_ program: String) { self.program = program }

    /// Shows the events of a client from now on, until the client ends.
    ///
    /// - Returns: A task that ends with the client.
    package func watch(_ client: AMQPClient) -> Task<Void, Never> {
        let events = client.events
        return Task.detached {
            for await event in events {
                let lines = self.state.withLock { $0.lines(of: event) }
                for line in lines { Console.error("\(self.program): \(line)") }
            }
        }
    }

    /// Returns a failure that names the URL if an attempt with this error ended the client; otherwise the error.
    package func naming(_ error: any Error) -> any Error {
        guard let fatal = self.state.withLock({ $0.fatal }), (error as? AMQPError)?.detail == fatal.error.detail else {
            return error
        }
        return Failure(fatal.line)
    }

    /// Adds the counts to a JSON report.
    package func add(to report: inout Report) {
        let state = self.state.withLock { $0 }
        report.add("losses", state.losses)
        report.add("link_losses", state.linkLosses)
        report.add("failed_attempts", state.failedAttempts)
        report.add("in_doubt_at_loss", state.inDoubt)
        report.add("replayed", state.replayed)
        report.add("down_seconds", seconds: state.down)
    }
}

extension OutageReport.State {
    /// Counts an event, and returns the lines that describe the known facts.
    mutating func lines(of event: AMQPClient.Event) -> [String] {
        guard let line = self.line(of: event) else { return [] }
        switch event {
        case .attemptFailed where self.isUp, .onConnectFailed where self.isUp:
            self.held.append(line)
            return []
        case .lost:
            self.isUp = false
            defer { self.held = [] }
            return [line] + self.held
        case .open, .recovered: self.isUp = true
        default: break
        }
        return [line]
    }

    /// Counts an event, and returns the line that describes it.
    private mutating func line(of event: AMQPClient.Event) -> String? {
        switch event {
        case .attempt(let number, let url):
            (self.attempt, self.url) = (number, url)
            return nil
        case .attemptFailed(let number, let url, let error), .onConnectFailed(let number, let url, let error):
            self.failedAttempts += 1
            let line = "attempt \(number) at \(url) failed: \(Program.text(of: error))"
            guard !error.isRetryable else { return line }
            // The client ends, and the program shows the line as its failure.
            self.fatal = (error, line)
            return nil
        case .open(let generation, let url):
            self.url = url
            // Further generations are reported when their links are attached.
            return generation == 1 ? "connected to \(url)" : nil
        case .lost(let error, let inDoubt, let bytes):
            self.losses += 1
            self.inDoubt += inDoubt
            return "connection lost\(Self.doubts(inDoubt, bytes)): \(Program.text(of: error))"
        case .linkLost(_, _, let error, let inDoubt):
            self.linkLosses += 1
            self.inDoubt += inDoubt
            return "link lost\(Self.doubts(inDoubt, nil)): \(Program.text(of: error))"
        case .recovered(let generation, let replayed, let time):
            self.replayed += replayed
            guard generation > 1 else { return nil }
            self.down += time
            let place = self.url.map { " to \($0)" } ?? ""
            let attempts = self.attempt == 1 ? "1 attempt" : "\(self.attempt) attempts"
            let again = replayed > 0 ? ", \(Units.messages(replayed)) sent again" : ""
            return "connected again\(place) after \(Units.seconds(time)) and \(attempts)\(again)"
        case .linkFailed, .addressChanged, .closed: return nil
        }
    }

    private static func doubts(_ count: Int, _ bytes: AMQPByteCount?) -> String {
        guard count > 0 else { return "" }
        let size = bytes.map { " of \(Units.bytes($0.bytes))" } ?? ""
        return " with \(Units.messages(count))\(size) in doubt"
    }
}
