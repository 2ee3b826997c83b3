// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QpidProton
import Synchronization

/// The amount of work; `nil` if it is unknown.
package struct Goal: Sendable {
    package var messages: Int?
    package var bytes: Int?

    package init(messages: Int? = nil, bytes: Int? = nil) {
        self.messages = messages
        self.bytes = bytes
    }
}

/// Counts messages and bytes, and shows them on stderr with their share, their rates, and the cause of a wait.
package final class Progress: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var isStopped = false
        var look: (@Sendable () async -> FlowLook?)?
        var link: (@Sendable () async -> AMQPLinkSnapshot?)?
        var isDown: (@Sendable () -> Bool)?
        var blockedTimes: [AMQPBlockCause: Duration]?
        /// The last state of the link.
        var last: FlowLook?
        var goal = Goal()
        var hasLink = false
    }

    private let messages = Atomic(0)
    private let bytes = Atomic(0)
    private let notAccepted = Atomic(0)
    private let isShown: Bool
    private let verb: String
    private let isTerminal = Console.isTerminal
    private let state = Mutex(State())

    /// - Parameters:
    ///   - verb: The work on the messages, for example "sent".
    ///   - isForced: Whether to show a line per second even if stderr is no terminal.
    package init(_ verb: String, isForced: Bool) {
        self.verb = verb
        self.isShown = self.isTerminal || isForced
        let interval: Duration = self.isTerminal ? .milliseconds(200) : .seconds(1)
        let task = Task.detached { [weak self] in
            let clock = ContinuousClock()
            var moments = [Moment(time: clock.now, messages: 0, bytes: 0)]
            while (try? await clock.sleep(for: interval)) != nil {
                guard let self else { return }
                let before = self.state.withLock { $0.last }
                let look = await self.look()
                guard self.isShown else { continue }
                let now = Moment(time: clock.now, messages: self.messageCount, bytes: self.bytesDone(look))
                moments.append(now)
                // The rates cover the last seconds, because momentary rates would jump with every batch.
                while moments.count > 2, now.time - moments[1].time >= Self.rateInterval { moments.removeFirst() }
                self.show(moments[0], now, look, before, interval.inSeconds)
            }
        }
        self.state.withLock { $0.task = task }
    }

    deinit { self.stop() }

    private static let rateInterval: Duration = .seconds(3)

    /// Sets the amount of work.
    package func setGoal(_ goal: Goal) {
        self.state.withLock { $0.goal = goal }
    }

    /// Whether a link was watched.
    package var hasLink: Bool { self.state.withLock { $0.hasLink } }

    package var messageCount: Int { self.messages.load(ordering: .relaxed) }
    package var byteCount: Int { self.bytes.load(ordering: .relaxed) }

    package func add(messages: Int, bytes: Int) {
        self.messages.wrappingAdd(messages, ordering: .relaxed)
        self.bytes.wrappingAdd(bytes, ordering: .relaxed)
    }

    /// Counts a settled message.
    package func add(_ outcome: AMQPOutcome, bytes: Int) {
        self.add(messages: 1, bytes: bytes)
        switch outcome {
        case .accepted, .settled: break
        case .rejected, .released, .modified: self.notAccepted.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// The sent or received bytes. A single large message counts as it is read, and a part of it may still wait.
    private func bytesDone(_ look: FlowLook?) -> Int {
        let isPart = self.state.withLock { $0.goal.messages == nil && $0.goal.bytes != nil }
        guard isPart, let look, look.link.isSender else { return self.byteCount }
        return max(0, self.byteCount - look.link.bytes.used.bytes)
    }

    // MARK: The link

    /// Also shows the link of a sender from now on.
    package func watch(_ sender: AMQPSender) {
        self.watch(isSender: true, { sender }) { try? await $0.snapshot() }
    }

    /// Also shows the link of a receiver from now on.
    package func watch(_ receiver: AMQPReceiver) {
        self.watch(isSender: false, { receiver }) { try? await $0.snapshot() }
    }

    /// Shows the current link of a client's sender from now on.
    package func watch(_ sender: AMQPClient.Sender) {
        self.watch(isSender: true, { sender.link }) { try? await $0.snapshot() }
    }

    /// Shows the current link of a client's receiver from now on.
    package func watch(_ receiver: AMQPClient.Receiver) {
        self.watch(isSender: false, { receiver.link }) { try? await $0.snapshot() }
    }

    /// - Parameter link: Returns the link; `nil` during an outage.
    private func watch<Link: AMQPLink>(
        isSender: Bool,
        _ link: @escaping @Sendable () -> Link?,
        _ snapshot: @escaping @Sendable (Link) async -> AMQPLinkSnapshot?
    ) {
        self.state.withLock { state in
            state.hasLink = true
            state.isDown = { link() == nil }
            state.link = {
                guard let link = link() else { return nil }
                return await Task { await snapshot(link) }.value
            }
            state.look = {
                guard let link = link() else { return nil }
                // The separate task lets a cancelled task read the snapshot too.
                let snapshot = await Task { try? await link.session.connection.snapshot() }.value
                return snapshot.flatMap { FlowLook($0, link: link.name, isSender: isSender) }
            }
        }
    }

    /// Whether a watched link is lost and not attached again.
    package var isDown: Bool { self.state.withLock { $0.isDown }?() ?? false }

    /// How long each cause blocked the link, until ``finish()`` or the last observation.
    package var blockedTimes: [AMQPBlockCause: Duration] {
        self.state.withLock { $0.blockedTimes ?? $0.last?.link.blockedTimes ?? [:] }
    }

    /// Records the figures of the link before its close, also if the peer has closed it already.
    package func finish() async {
        guard let link = self.state.withLock({ $0.link }), let times = await link()?.blockedTimes else { return }
        self.state.withLock { $0.blockedTimes = times }
    }

    /// Returns the link's current state, or the last one after the end of the link or the connection.
    @discardableResult
    package func look() async -> FlowLook? {
        guard let look = self.state.withLock({ $0.look }) else { return nil }
        let found = await look()
        return self.state.withLock { state in
            if let found { state.last = found }
            return state.last
        }
    }

    // MARK: Display

    /// Stops the display, and clears the line of a terminal.
    package func stop() {
        self.state.withLock { state in
            state.isStopped = true
            state.task?.cancel()
            state.task = nil
            state.look = nil
            state.link = nil
            state.isDown = nil
            if self.isShown, self.isTerminal { Console.showStatus(nil) }
        }
    }

    private struct Moment {
        let time: ContinuousClock.Instant
        let messages: Int
        let bytes: Int
    }

    private func show(
        _ first: Moment,
        _ now: Moment,
        _ look: FlowLook?,
        _ before: FlowLook?,
        _ interval: Double
    ) {
        let seconds = max(1e-6, (now.time - first.time).inSeconds)
        let rate = Double(now.messages - first.messages) / seconds
        let byteRate = Double(now.bytes - first.bytes) / seconds
        let goal = self.state.withLock { $0.goal }
        var line = StatusLine()
        if let total = goal.bytes, goal.messages == nil {
            let done = min(now.bytes, total)
            line.add("\(Units.bytes(done)) of \(Units.bytes(total)) sent", importance: 10)
            line.add(share: done, of: total, importance: 8)
            line.add(left: Double(total - done) / byteRate, importance: 7)
            line.add("\(Units.bytes(Int(byteRate)))/s", importance: 6)
        } else {
            if let total = goal.messages {
                line.add("\(Units.count(now.messages)) of \(Units.count(total)) \(self.verb)", importance: 10)
                line.add(share: now.messages, of: total, importance: 8)
                line.add(left: Double(total - now.messages) / rate, importance: 7)
            } else {
                line.add("\(Units.messages(now.messages)) \(self.verb)", importance: 10)
            }
            line.add(Units.rate(rate), importance: 6)
            line.add("\(Units.bytes(now.bytes))", importance: 1)
            line.add("\(Units.bytes(Int(byteRate)))/s", importance: 3)
        }
        let bad = self.notAccepted.load(ordering: .relaxed)
        if bad > 0 { line.add("\(Units.count(bad)) not accepted", importance: 9) }
        if self.isDown {
            line.add("no connection", importance: 9)
        } else {
            look?.add(to: &line, since: before, interval)
        }
        // The lock is held, so that nothing is shown after the end.
        self.state.withLock { state in
            guard !state.isStopped else { return }
            if self.isTerminal {
                // Some terminals start a new line after a character in the last column.
                Console.showStatus(line.text(within: Console.columns - 1))
            } else {
                Console.write(line.text(within: .max) + "\n")
            }
        }
    }
}

/// Formats numbers for people.
package enum Units {
    /// Formats a number of bytes with up to four digits and a unit.
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

    /// Formats a whole number with a comma between thousands.
    package static func count(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(number.magnitude).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (number < 0 ? "-" : "") + String(text.reversed())
    }

    /// Formats a number of messages, for example `1 message` or `2,000 messages`.
    package static func messages(_ number: Int) -> String {
        "\(self.count(number)) \(number == 1 ? "message" : "messages")"
    }

    /// Formats a rate in messages per second.
    package static func rate(_ perSecond: Double) -> String {
        perSecond > 0 && perSecond < 9.95
            ? String(format: "%.1f/s", perSecond) : "\(self.count(Int(min(perSecond, 1e15).rounded())))/s"
    }

    /// Formats a short time with one decimal, for example `2.3 s`.
    package static func seconds(_ time: Duration) -> String { String(format: "%.1f s", time.inSeconds) }

    /// Formats a time in its two largest units.
    package static func time(_ seconds: Double) -> String {
        let whole = Int(min(max(0, seconds), 1e15).rounded(.up))
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3_600: return "\(whole / 60) min \(whole % 60) s"
        default: return "\(whole / 3_600) h \(whole % 3_600 / 60) min"
        }
    }
}
