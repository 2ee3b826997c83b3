import Foundation
package import QpidProton
import Synchronization

/// Counts messages and bytes, and shows them with their rates and what the link waits for on stderr while it lives.
package final class Progress: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var isStopped = false
        var look: (@Sendable () async -> FlowLook?)?
        var link: (@Sendable () async -> AMQPLinkSnapshot?)?
        var blockedTimes: [AMQPBlockCause: Duration]?
        /// The link as it was seen last.
        var last: FlowLook?
    }

    private let messages = Atomic(0)
    private let bytes = Atomic(0)
    private let isShown: Bool
    private let verb: String
    private let isTerminal = Console.isTerminal
    private let state = Mutex(State())

    /// - Parameters:
    ///   - verb: What has become of the messages, for example "sent".
    ///   - isForced: Whether to show the progress also where stderr is no terminal: a line a second.
    package init(_ verb: String, isForced: Bool) {
        self.verb = verb
        self.isShown = self.isTerminal || isForced
        let interval: Duration = self.isTerminal ? .milliseconds(200) : .seconds(1)
        let task = Task.detached { [weak self] in
            let clock = ContinuousClock()
            var last = Moment(time: clock.now, messages: 0, bytes: 0)
            while (try? await clock.sleep(for: interval)) != nil {
                guard let self else { return }
                let before = self.state.withLock { $0.last }
                let look = await self.look()
                guard self.isShown else { continue }
                let now = Moment(time: clock.now, messages: self.messageCount, bytes: self.byteCount)
                self.show(last, now, look, before)
                last = now
            }
        }
        self.state.withLock { $0.task = task }
    }

    deinit { self.stop() }

    package var messageCount: Int { self.messages.load(ordering: .relaxed) }
    package var byteCount: Int { self.bytes.load(ordering: .relaxed) }

    package func add(messages: Int, bytes: Int) {
        self.messages.wrappingAdd(messages, ordering: .relaxed)
        self.bytes.wrappingAdd(bytes, ordering: .relaxed)
    }

    // MARK: The link

    /// Shows a link too, from now on.
    package func watch(_ sender: AMQPSender) {
        self.watch(sender, isSender: true) { try? await sender.snapshot() }
    }

    /// Shows a link too, from now on.
    package func watch(_ receiver: AMQPReceiver) {
        self.watch(receiver, isSender: false) { try? await receiver.snapshot() }
    }

    private func watch(
        _ link: some AMQPLink,
        isSender: Bool,
        _ snapshot: @escaping @Sendable () async -> AMQPLinkSnapshot?
    ) {
        let (name, connection) = (link.name, link.session.connection)
        self.state.withLock { state in
            state.link = { await Task { await snapshot() }.value }
            state.look = {
                // A task that is cancelled wants to know it all the same.
                let snapshot = await Task { try? await connection.snapshot() }.value
                return snapshot.flatMap { FlowLook($0, link: name, isSender: isSender) }
            }
        }
    }

    /// How long what kept the link from moving: until ``finish()``, or as it was seen last.
    package var blockedTimes: [AMQPBlockCause: Duration] {
        self.state.withLock { $0.blockedTimes ?? $0.last?.link.blockedTimes ?? [:] }
    }

    /// Takes down what there is to be told of the link: before it is closed, also when the peer has closed it already.
    package func finish() async {
        guard let link = self.state.withLock({ $0.link }), let times = await link()?.blockedTimes else { return }
        self.state.withLock { $0.blockedTimes = times }
    }

    /// Looks at the link now; the last look when the link or the connection is gone.
    @discardableResult
    package func look() async -> FlowLook? {
        guard let look = self.state.withLock({ $0.look }) else { return nil }
        let found = await look()
        return self.state.withLock { state in
            if let found { state.last = found }
            return state.last
        }
    }

    // MARK: Showing

    /// Stops, and clears the line of a terminal.
    package func stop() {
        self.state.withLock { state in
            state.isStopped = true
            state.task?.cancel()
            state.task = nil
            state.look = nil
            state.link = nil
            if self.isShown, self.isTerminal { Console.showStatus(nil) }
        }
    }

    private struct Moment {
        let time: ContinuousClock.Instant
        let messages: Int
        let bytes: Int
    }

    private func show(_ last: Moment, _ now: Moment, _ look: FlowLook?, _ before: FlowLook?) {
        let seconds = max(1e-6, (now.time - last.time).inSeconds)
        var line = StatusLine()
        line.add("\(now.messages) messages \(self.verb), \(Units.bytes(now.bytes))", importance: 1)
        line.add("\(Int((Double(now.messages - last.messages) / seconds).rounded())) messages/s", importance: 7)
        line.add("\(Units.bytes(Int(Double(now.bytes - last.bytes) / seconds)))/s", importance: 5)
        look?.add(to: &line, since: before, seconds)
        // Under the lock: nothing is shown after the end.
        self.state.withLock { state in
            guard !state.isStopped else { return }
            if self.isTerminal {
                // A character in the last column would make some terminals go to the next line.
                Console.showStatus(line.text(within: Console.columns - 1))
            } else {
                Console.write(line.text(within: .max) + "\n")
            }
        }
    }
}

/// Numbers for people.
package enum Units {
    /// A number of bytes with up to four digits and a unit.
    package static func bytes(_ count: Int) -> String {
        var number = Double(count)
        var unit = "B"
        for next in ["KiB", "MiB", "GiB", "TiB"] where number >= 1_024 {
            number /= 1_024
            unit = next
        }
        if number == number.rounded() { return "\(Int(number)) \(unit)" }
        return String(format: "%.1f ", number) + unit
    }
}
