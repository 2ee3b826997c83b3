// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The parsing of the command line, with remedies in the errors.
enum Arguments {
    static func parse<Command: ExampleCommand>(_ type: Command.Type) throws -> Command {
        try self.checkEncoding()
        let arguments = self.joiningNumbers(Array(CommandLine.arguments.dropFirst()))
        do {
            guard let command = try Command.parseAsRoot(arguments) as? Command else { throw CleanExit.helpRequest() }
            try command.check()
            return command
        } catch {
            // The parser reports a missing argument first, although an unknown option may be the misspelt argument.
            do {
                _ = try Command.parseAsRoot(arguments + ["-"])
            } catch let other where type.message(for: other).hasPrefix("Unknown option") {
                throw other
            } catch {}
            let text = type.message(for: error)
            if let remedy = self.remedy(for: text) { throw ValidationError("\(text): \(remedy)") }
            throw error
        }
    }

    // MARK: Values

    /// The remedies for values that the parser cannot read. The keys are the placeholders of the options in the help.
    private static let remedies = [
        "bytes": "give a whole number of bytes, 0 or more, such as 65536 or 64K (K, M or G)",
        "number": "give a whole number, such as 100",
        "rate": "give a number of messages a second, such as 100 or 0.5",
        "seconds": "give a number of seconds, such as 5 or 0.5",
        "milliseconds": "give a number of milliseconds, such as 50",
        "window": "give a number of messages, bytes such as 64K, auto, on-demand or unbounded",
    ]

    /// Returns the remedy for a text of the parser, such as `The value 'x' is invalid for '--count <number>'`.
    private static func remedy(for text: String) -> String? {
        if text.hasPrefix("Unexpected argument") { return "quote a text that has spaces, and see --help" }
        if text.hasPrefix("Missing expected argument '<url>") { return "give a URL, such as localhost/orders" }
        guard text.hasPrefix("The value"), text.hasSuffix(">'"), let start = text.lastIndex(of: "<") else { return nil }
        return self.remedies[String(text[text.index(after: start)...].dropLast(2))]
    }

    /// Throws for an argument that is not UTF-8, because the runtime would silently replace its bytes.
    private static func checkEncoding() throws {
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let start = CommandLine.unsafeArgv[index], String(validatingCString: start) == nil else { continue }
            let bytes = UnsafeRawBufferPointer(start: start, count: strlen(start))
            throw ValidationError("the argument \(Console.quoted(bytes)) is not UTF-8: convert it, or put it in a file")
        }
    }

    // MARK: Numbers

    /// Joins a number with the option before it. The parser mistakes `-1` in `--count -1` for an option, and a URL
    /// after `--reconnect` for its number.
    private static func joiningNumbers(_ arguments: [String]) -> [String] {
        var joined: [String] = []
        var isBehindReconnect = false
        for argument in arguments {
            let number = Double(argument)
            // A single word after `--reconnect` counts as a mistyped number, not as a host.
            let isValue = number != nil || isBehindReconnect && ReconnectOptions.isWord(argument)
            if isBehindReconnect, !isValue { joined[joined.count - 1] += "=\(OutageLimit.none)" }
            if isValue, let last = joined.last, last.hasPrefix("--"), last.count > 2, !last.contains("="),
                (number ?? 0) < 0 || isBehindReconnect
            {
                joined[joined.count - 1] = "\(last)=\(argument)"
            } else {
                joined.append(argument)
            }
            isBehindReconnect = argument == ReconnectOptions.name
        }
        return isBehindReconnect ? joined.dropLast() + [joined[joined.count - 1] + "=\(OutageLimit.none)"] : joined
    }
}
