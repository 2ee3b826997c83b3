// SPDX-License-Identifier: Apache-2.0

import Foundation
package import Logging
import Synchronization

/// Writes lines to stderr. A line that cannot be written is dropped, and the work continues.
package enum Console {
    /// The status line at the bottom of the terminal; `nil` for none.
    private static let status = Mutex<String?>(nil)

    /// Writes one line. Characters that would break it, such as a line feed in a file's name, are escaped.
    package static func error(_ text: String) {
        self.write(self.oneLine(text) + "\n")
    }

    /// Writes text unchanged. Removes the status line before it, and restores it when the text ends its line.
    package static func write(_ text: String) {
        self.status.withLock { status in
            guard let line = status else { return self.put(text) }
            self.put("\r\u{1B}[K" + text + (text.hasSuffix("\n") ? line : ""))
        }
    }

    /// Replaces the line in the terminal's last row; `nil` removes it.
    package static func showStatus(_ line: String?) {
        self.status.withLock { status in
            guard line != nil || status != nil else { return }
            status = line
            self.put("\r" + (line ?? "") + "\u{1B}[K")
        }
    }

    private static func put(_ text: String) { POSIX.report(text) }

    /// Whether stderr is a terminal.
    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// The columns of the terminal at stderr; 80 if they are unknown.
    package static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Quotes a name, and escapes everything that is not UTF-8 or that a terminal does not print.
    package static func quoted(_ name: some Sequence<UInt8>) -> String {
        var (text, bytes) = ("\"", Array(name)[...])
        while !bytes.isEmpty {
            var iterator = bytes.makeIterator()
            var decoder = UTF8()
            guard case .scalarValue(let scalar) = decoder.decode(&iterator) else {
                text += "\\x" + String(bytes.removeFirst(), radix: 16)
                continue
            }
            bytes.removeFirst(UTF8.width(scalar))
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
                text += scalar.escaped(asASCII: true)
            case _ where scalar == "\"" || scalar == "\\": text += scalar.escaped(asASCII: true)
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }

    /// Quotes a name.
    package static func quoted(_ name: String) -> String { self.quoted(name.utf8) }

    package static func oneLine(_ text: String) -> String {
        var line = ""
        for scalar in text.unicodeScalars {
            if scalar == "\n" {
                line += " "
            } else if scalar.properties.generalCategory == .control {
                line += scalar.escaped(asASCII: true)
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        return line
    }

    /// Returns a logger whose warnings and errors are lines on stderr.
    ///
    /// - Parameters:
    ///   - program: The name at the start of each line.
    ///   - ignored: Messages of the library that the program reports in its own words.
    package static func logger(of program: String, without ignored: Set<String> = []) -> Logger {
        Logger(label: program) { ConsoleLog(program: $0, ignored: ignored) }
    }
}

/// Writes each warning and error as one line: the message, and the detail or the error of its metadata.
private struct ConsoleLog: LogHandler {
    let program: String
    let ignored: Set<String>
    var logLevel = Logger.Level.warning
    var metadata: Logger.Metadata = [:]

    init(program: String, ignored: Set<String>) {
        self.program = program
        self.ignored = ignored
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let message = "\(event.message)"
        guard !self.ignored.contains(message) else { return }
        let detail = event.metadata?["amqp.detail"] ?? event.metadata?["amqp.error"]
        let text = detail.map { ": \(ErrorWords.commandLine.translate("\($0)"))" } ?? ""
        Console.error("\(self.program): \(event.level): \(message)\(text)")
    }
}
