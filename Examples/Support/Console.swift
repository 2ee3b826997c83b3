import Foundation
package import Logging
import Synchronization

/// Lines on stderr. A line that cannot be written is dropped: the work goes on without it.
package enum Console {
    /// The status line that the terminal shows below all else; nil for none.
    private static let status = Mutex<String?>(nil)

    /// Writes one line: what would break it, such as a file's name with a line feed, is shown escaped.
    package static func error(_ text: String) {
        self.write(self.oneLine(text) + "\n")
    }

    /// Writes text as it is. A status line is taken away before and put back when the text ends its line.
    package static func write(_ text: String) {
        self.status.withLock { status in
            guard let line = status else { return self.put(text) }
            self.put("\r\u{1B}[K" + text + (text.hasSuffix("\n") ? line : ""))
        }
    }

    /// Shows a line at the terminal's last row in place of the one before; nil takes it away.
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

    /// The columns of the terminal at stderr; 80 where it does not tell them.
    package static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// A name as it is shown: in quotes, and with everything escaped that is not UTF-8 or that a terminal does not print.
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

    /// A name as it is shown.
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

    /// A logger whose warnings and errors are lines on stderr.
    ///
    /// - Parameters:
    ///   - program: The name that the lines begin with.
    ///   - ignored: Messages of the library that the program itself reports in other words.
    package static func logger(of program: String, without ignored: Set<String> = []) -> Logger {
        Logger(label: program) { ConsoleLog(program: $0, ignored: ignored) }
    }
}

/// Writes warnings and errors as one line each: the message, and the detail or the error that its metadata names.
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
        Console.error("\(self.program): \(event.level): \(message)" + (detail.map { ": \($0)" } ?? ""))
    }
}
