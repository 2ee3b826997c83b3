import Foundation
import Synchronization

/// Counts messages and bytes, and shows them with their rates on stderr while it lives.
package final class Progress: Sendable {
    private let messages = Atomic(0)
    private let bytes = Atomic(0)
    private let verb: String
    private let isTerminal = Console.isTerminal
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// - Parameters:
    ///   - verb: What has become of the messages, for example "sent".
    ///   - isForced: Whether to show the progress also where stderr is no terminal: a line a second.
    package init(_ verb: String, isForced: Bool) {
        self.verb = verb
        guard self.isTerminal || isForced else { return }
        let interval: Duration = self.isTerminal ? .milliseconds(200) : .seconds(1)
        let task = Task.detached { [weak self] in
            let clock = ContinuousClock()
            let start = clock.now
            var last = (time: start, messages: 0, bytes: 0)
            while (try? await clock.sleep(for: interval)) != nil {
                guard let self else { return }
                let now = (time: clock.now, messages: self.messageCount, bytes: self.byteCount)
                let seconds = max(1e-6, (now.time - last.time).inSeconds)
                self.show(
                    now.messages,
                    now.bytes,
                    rate: Double(now.messages - last.messages) / seconds,
                    byteRate: Double(now.bytes - last.bytes) / seconds
                )
                last = now
            }
        }
        self.task.withLock { $0 = task }
    }

    deinit { self.stop() }

    package var messageCount: Int { self.messages.load(ordering: .relaxed) }
    package var byteCount: Int { self.bytes.load(ordering: .relaxed) }

    package func add(messages: Int, bytes: Int) {
        self.messages.wrappingAdd(messages, ordering: .relaxed)
        self.bytes.wrappingAdd(bytes, ordering: .relaxed)
    }

    /// Stops, and clears the line of a terminal.
    package func stop() {
        let task = self.task.withLock { task in
            defer { task = nil }
            return task
        }
        guard let task else { return }
        task.cancel()
        if self.isTerminal { Console.write("\r\u{1B}[K") }
    }

    private func show(_ messages: Int, _ bytes: Int, rate: Double, byteRate: Double) {
        let text =
            "\(messages) messages \(self.verb), \(Units.bytes(bytes))"
            + ", \(Int(rate)) messages/s, \(Units.bytes(Int(byteRate)))/s"
        Console.write(self.isTerminal ? "\r\(text)\u{1B}[K" : text + "\n")
    }
}

/// Numbers for people.
package enum Units {
    /// A number of bytes with three or four digits and a unit.
    package static func bytes(_ count: Int) -> String {
        var number = Double(count)
        var unit = "B"
        for next in ["KiB", "MiB", "GiB", "TiB"] where number >= 1_024 {
            number /= 1_024
            unit = next
        }
        return unit == "B" ? "\(count) B" : String(format: "%.1f ", number) + unit
    }
}
