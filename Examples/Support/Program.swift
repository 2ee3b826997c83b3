// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
package import Dispatch
import Foundation
import NIOCore
import QpidProton
import Synchronization

/// A failure whose text is one line for stderr.
package struct Failure: Error, CustomStringConvertible {
    package let description: String
    package let exitCode: Int32

    package init(_ text: String, exitCode: Int32 = 1) {
        self.description = text
        self.exitCode = exitCode
    }
}

/// A command that checks its options together after all of them are parsed.
///
/// `ParsableArguments.validate()` runs before the parser detects unknown options, so `--bdy` would cause the error
/// "give exactly one of --body, …".
package protocol ExampleCommand: AsyncParsableCommand {
    /// Throws `ValidationError` for conflicting options.
    func check() throws
}

extension ExampleCommand {
    package func check() throws {}
}

/// The common part of the executables from start to exit: exit codes, signals, and one line for each failure.
package enum Program {
    /// The first of SIGINT and SIGTERM; 0 before either.
    private static let interrupt = Atomic<Int32>(0)

    /// Whether SIGINT or SIGTERM arrived, which cancels the command's task.
    package static var isInterrupted: Bool { self.interrupt.load(ordering: .relaxed) != 0 }

    /// The exit code of a program that a signal ended early: 128 and the signal's number.
    package static var interruptedExitCode: Int32 { 128 + self.interrupt.load(ordering: .relaxed) }

    /// Parses the arguments, runs the command and exits with 0, or with another code after one line on stderr.
    ///
    /// SIGINT and SIGTERM cancel the command's task, so that it closes its links in order; a second one exits at once.
    /// The function is synchronous, because the runtime opens files before an asynchronous `main` starts.
    package static func main<Command: ExampleCommand>(_ type: Command.Type) -> Never {
        StandardDescriptors.claim()
        // A write to a closed socket then fails with an error instead of ending the process.
        signal(SIGPIPE, SIG_IGN)
        // A write beyond the file-size limit then fails with an error too.
        signal(SIGXFSZ, SIG_IGN)
        let command: Command
        do {
            command = try Arguments.parse(type)
        } catch {
            self.exit(after: error, of: type)
        }
        let (start, starting) = AsyncStream.makeStream(of: Void.self)
        let run = Task.detached { [command = Unchecked(command)] in
            for await _ in start {}
            var command = command.value
            try await command.run()
        }
        let sources = [SIGINT, SIGTERM].flatMap { number in
            self.onSignals([number]) {
                let first = self.interrupt.compareExchange(expected: 0, desired: number, ordering: .relaxed)
                guard first.exchanged else { _exit(128 + number) }
                run.cancel()
            }
        }
        // The signal handlers are set up, so no later signal is lost.
        starting.finish()
        Task.detached {
            do {
                try await run.value
                Foundation.exit(0)
            } catch {
                self.exit(after: error, of: type)
            }
        }
        // The first thread stays, because Linux would remove the process's memory figures with it.
        while true { withExtendedLifetime(sources) { _ = pause() } }
    }

    /// Calls `handler` for each of the signals, instead of their default effect. Returns when the handler is set up.
    package static func onSignals(
        _ signals: [Int32],
        _ handler: @escaping @Sendable () -> Void
    ) -> [any DispatchSourceSignal] {
        signals.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: handler)
            let installed = DispatchSemaphore(value: 0)
            source.setRegistrationHandler { installed.signal() }
            source.resume()
            installed.wait()
            return source
        }
    }

    /// Returns whether an error is the end of a cancelled task.
    package static func isCancellation(_ error: any Error) -> Bool {
        if let error = error as? AMQPError { return error.condition == .cancelled }
        return error is CancellationError
    }

    /// Returns the text of an error in the words of the command line.
    package static func text(of error: any Error) -> String {
        ErrorWords.commandLine.text(of: error)
    }

    private static func exit<Command: ParsableCommand>(after error: any Error, of type: Command.Type) -> Never {
        let name = type._commandName
        var code: Int32 = 1
        switch error {
        case let failure as Failure:
            Console.error("\(name): \(failure)")
            code = failure.exitCode
        case _ where self.isInterrupted && self.isCancellation(error):
            Console.error("\(name): interrupted")
            code = self.interruptedExitCode
        case is AMQPError: Console.error("\(name): \(self.text(of: error))")
        default:
            // Help and version are errors too, with the exit code of success.
            let exitCode = type.exitCode(for: error)
            if exitCode.isSuccess {
                self.printOrExit(type.fullMessage(for: error), name)
            } else if !(error is ExitCode) {
                Console.error("\(name): \(type.message(for: error))")
                if exitCode == .validationFailure { self.printReport(of: type.message(for: error), name) }
            }
            code = exitCode.rawValue
        }
        Foundation.exit(code)
    }

    /// Prints the report of unusable arguments for `--json`, where the program would print that of a run.
    private static func printReport(of text: String, _ name: String) {
        let arguments = CommandLine.arguments.dropFirst().prefix { $0 != "--" }
        guard arguments.contains("--json") else { return }
        var report = Report()
        report.add("error", text)
        // Of the programs, only the receiver writes data to stdout.
        let isOnStandardError = name == "receiver" && arguments.contains("-")
        do { try report.print(toStandardError: isOnStandardError) } catch { Console.error("\(name): \(error)") }
    }

    /// Prints the requested text, such as help.
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
/// Sendable: ``Program`` creates the value, passes it to the one task that uses it, and does not use it afterwards.
private struct Unchecked<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
