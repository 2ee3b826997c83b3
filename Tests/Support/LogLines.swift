// SPDX-License-Identifier: Apache-2.0

package import Logging
import NIOConcurrencyHelpers

/// The lines of a logger, each with the metadata of the logger and of the line.
package final class LogLines: Sendable {
    package struct Line: Sendable, CustomStringConvertible {
        package let level: Logger.Level
        package let message: String
        package let metadata: Logger.Metadata

        package subscript(key: String) -> String? { self.metadata[key].map { "\($0)" } }

        package var description: String { "\(self.message) \(self.metadata)" }
    }

    private struct Handler: LogHandler {
        let lines: NIOLockedValueBox<[Line]>
        var logLevel: Logger.Level
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = self.metadata.merging(event.metadata ?? [:]) { $1 }
            let line = Line(level: event.level, message: "\(event.message)", metadata: metadata)
            self.lines.withLockedValue { $0.append(line) }
        }
    }

    private let lines = NIOLockedValueBox<[Line]>([])
    private let level: Logger.Level

    /// - Parameter level: The lowest recorded level.
    package init(level: Logger.Level = .trace) { self.level = level }

    package var logger: Logger {
        Logger(label: "test") { _ in Handler(lines: self.lines, logLevel: self.level) }
    }

    package var all: [Line] { self.lines.withLockedValue { $0 } }
    package var warnings: [Line] { self.all.filter { $0.level >= .warning } }
    /// The text of all lines, with their metadata.
    package var text: String { self.all.map { "\($0)\n" }.joined() }

    /// Returns the lines that contain a text.
    package func lines(with text: String) -> [String] { self.all.map { "\($0)" }.filter { $0.contains(text) } }
}
