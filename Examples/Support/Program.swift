package import ArgumentParser
package import Dispatch
import Foundation
import NIOCore
import QpidProton
import Synchronization

/// A failure with a text of one line, for stderr.
package struct Failure: Error, CustomStringConvertible {
    package let description: String
    package let exitCode: Int32

    package init(_ text: String, exitCode: Int32 = 1) {
        self.description = text
        self.exitCode = exitCode
    }
}

/// What the executables share from their start to their exit: one line a failure, and signals.
package enum Program {
    private static let interrupted = Atomic(false)

    /// Whether SIGINT or SIGTERM has come: the task of the command is then cancelled.
    package static var isInterrupted: Bool { self.interrupted.load(ordering: .relaxed) }

    /// The exit code of a program that a signal ended before its work was done.
    package static let interruptedExitCode: Int32 = 130

    /// Parses the arguments, runs the command and exits: 0, or after one line on stderr another code.
    ///
    /// SIGINT and SIGTERM cancel the command's task, so that it closes its links in order; a second one exits at once.
    /// It is synchronous because the runtime opens files before an asynchronous `main` begins.
    package static func main<Command: AsyncParsableCommand>(_ type: Command.Type) -> Never {
        StandardDescriptors.claim()
        // A peer that is gone is an error of a call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        // So is a file that has reached the size that the process may write.
        signal(SIGXFSZ, SIG_IGN)
        let command: Command
        do {
            guard let parsed = try Command.parseAsRoot() as? Command else { throw CleanExit.helpRequest() }
            command = parsed
        } catch {
            self.exit(after: error, of: type)
        }
        let run = Task.detached { [command = Unchecked(command)] in
            var command = command.value
            try await command.run()
        }
        let sources = self.onSignals([SIGINT, SIGTERM]) {
            if self.interrupted.exchange(true, ordering: .relaxed) { _exit(self.interruptedExitCode) }
            run.cancel()
        }
        Task.detached {
            do {
                try await run.value
                Foundation.exit(0)
            } catch {
                self.exit(after: error, of: type)
            }
        }
        // The first thread stays: with it, Linux would take the process's memory figures away.
        while true { withExtendedLifetime(sources) { _ = pause() } }
    }

    /// Calls `handler` whenever one of the signals comes, in place of what it does by default.
    package static func onSignals(
        _ signals: [Int32],
        _ handler: @escaping @Sendable () -> Void
    ) -> [any DispatchSourceSignal] {
        signals.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: handler)
            source.resume()
            return source
        }
    }

    private static func exit<Command: ParsableCommand>(after error: any Error, of type: Command.Type) -> Never {
        let name = type._commandName
        switch error {
        case let failure as Failure:
            Console.error("\(name): \(failure)")
            Foundation.exit(failure.exitCode)
        case let error as AMQPError where [.cancelled, .unsettled].contains(error.condition) && self.isInterrupted:
            Console.error("\(name): interrupted")
            Foundation.exit(self.interruptedExitCode)
        case is CancellationError where self.isInterrupted:
            Console.error("\(name): interrupted")
            Foundation.exit(self.interruptedExitCode)
        case let error as AMQPError:
            Console.error("\(name): \(error)")
            Foundation.exit(1)
        default:
            // Help and version come as errors too, with the exit code of success.
            let code = type.exitCode(for: error)
            if code.isSuccess {
                self.printOrExit(type.fullMessage(for: error), name)
            } else if !(error is ExitCode) {
                Console.error("\(name): \(type.message(for: error))")
            }
            Foundation.exit(code.rawValue)
        }
    }

    /// Prints the text that was asked for, such as help.
    private static func printOrExit(_ text: String, _ name: String) {
        do throws(SystemFailure) {
            try File.standardOutput().write(ByteBuffer(string: text + "\n"), what: "stdout")
        } catch {
            Console.error("\(name): \(error)")
            Foundation.exit(1)
        }
    }
}

/// Moves a value to one task.
///
/// Proof: ``Program`` makes the value, gives it to the one task that uses it, and touches it no more.
private struct Unchecked<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
