// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

/// The periodic check of a connection's links, which reports long blocks and warns of stalled links. Used on the event
/// loop only.
final class StallMonitor {
    private struct Subscriber {
        let after: Int64
        let link: String?
        let continuation: AsyncStream<AMQPFlowEvent>.Continuation
    }

    /// The record of a link since its last progress.
    private struct Progress {
        var steps: Int
        var since: Int64
        var isWarned = false
    }

    /// The shortest duration of a reported block, in nanoseconds. Shorter intervals would not separate events.
    private static let shortest: Int64 = 1_000_000

    private unowned let handler: ConnectionHandler
    private let stallLimit: Int64?
    private var subscribers: [UInt64: Subscriber] = [:]
    private var nextID: UInt64 = 0
    private var progress: [UInt64: Progress] = [:]
    private var timer: LoopTimer?
    private let metricsInterval: Int64?

    init(_ handler: ConnectionHandler) {
        self.handler = handler
        self.stallLimit = handler.configuration.stallWarning.map { max(Self.shortest, $0.nanoseconds) }
        self.metricsInterval = handler.configuration.metrics.map { $0.interval.nanoseconds }
    }

    /// Starts the metrics, and schedules the checks.
    func start() {
        self.handler.metrics?.start()
        self.schedule()
    }

    func stop() {
        self.timer?.cancel()
        self.timer = nil
        for subscriber in self.subscribers.values { subscriber.continuation.finish() }
        self.subscribers = [:]
        self.handler.metrics?.stop()
    }

    func subscribe(_ continuation: AsyncStream<AMQPFlowEvent>.Continuation, after: Duration, link: String?) {
        let id = self.nextID
        self.nextID += 1
        self.subscribers[id] = Subscriber(
            after: max(Self.shortest, after.nanoseconds),
            link: link,
            continuation: continuation
        )
        let outbox = self.handler.outbox
        continuation.onTermination = { _ in outbox.post(.connection(.endObservingFlow(id))) }
        self.schedule()
    }

    func unsubscribe(_ id: UInt64) { self.subscribers[id] = nil }

    private func schedule() {
        var interval = self.stallLimit.map { $0 / 4 }
        if let metricsInterval = self.metricsInterval { interval = min(interval ?? .max, metricsInterval) }
        if let shortest = self.subscribers.values.map(\.after).min() { interval = min(interval ?? .max, shortest / 2) }
        self.timer?.cancel()
        self.timer = nil
        guard let interval, !self.handler.isDead else { return }
        self.timer = LoopTimer(of: self.handler, in: .nanoseconds(max(Self.shortest / 2, interval))) { [unowned self] in
            self.look()
            self.schedule()
        }
    }

    private func look() {
        let now = self.handler.now
        var seen: Set<UInt64> = []
        for session in self.handler.sessions.values {
            for link in session.links.values where !link.isDone {
                seen.insert(link.number)
                self.announce(link, now)
                self.warn(link, now)
            }
        }
        self.progress = self.progress.filter { seen.contains($0.key) }
        self.handler.metrics?.record(self.handler, now)
    }

    // MARK: Events

    private func announce(_ link: LinkEndpoint, _ now: Int64) {
        guard !self.subscribers.isEmpty, let cause = link.blocks.cause, !link.blocks.isAnnounced else { return }
        let duration = now - link.blocks.since
        guard duration >= self.subscribers.values.map(\.after).min() ?? .max else { return }
        link.blocks.isAnnounced = true
        self.tell(link, cause, .blocked(for: .nanoseconds(duration)), duration)
    }

    /// Reports the end of a block.
    func ended(_ block: BlockClock.Ended, on link: LinkEndpoint) {
        self.handler.metrics?.ended(block, on: link)
        guard block.wasAnnounced else { return }
        self.tell(link, block.cause, .unblocked(after: .nanoseconds(block.duration)), block.duration)
    }

    private func tell(_ link: LinkEndpoint, _ cause: AMQPBlockCause, _ kind: AMQPFlowEvent.Kind, _ duration: Int64) {
        let event = AMQPFlowEvent(
            linkName: link.status.name,
            isSender: link is SenderEndpoint,
            cause: cause,
            kind: kind
        )
        for subscriber in self.subscribers.values
        where subscriber.after <= duration && subscriber.link?.hasSameUTF8(as: link.status.name) != false {
            subscriber.continuation.yield(event)
        }
    }

    // MARK: Warnings

    /// Warns once of a link with pending work and no progress for the limit.
    private func warn(_ link: LinkEndpoint, _ now: Int64) {
        guard let limit = self.stallLimit else { return }
        let id = link.number
        guard let cause = link.blocks.cause else { return self.progress[id] = nil }
        var progress = self.progress[id] ?? Progress(steps: link.steps, since: link.blocks.since)
        if progress.steps != link.steps { progress = Progress(steps: link.steps, since: now) }
        if now - progress.since >= limit, !progress.isWarned {
            progress.isWarned = true
            let seconds = Double(now - progress.since) / 1e9
            self.handler.logger.warning(
                "a link with pending work makes no progress",
                metadata: link.logMetadata([
                    .cause: "\(cause.rawValue)", .detail: "\(link.words(for: cause))",
                    .seconds: "\(Int(seconds.rounded()))",
                ])
            )
        }
        self.progress[id] = progress
    }
}

extension LinkEndpoint {
    /// Sets the current cause of the block.
    func note(_ cause: AMQPBlockCause?) {
        guard cause != self.blocks.cause, let ended = self.blocks.note(cause, at: self.handler.now) else { return }
        self.handler.watch.ended(ended, on: self)
    }

    /// Returns the cause in the user's words, with the link's numbers.
    func words(for cause: AMQPBlockCause) -> String {
        let snapshot = self.snapshot(at: self.handler.now)
        guard !snapshot.isSender else {
            return
                "\(cause); \(snapshot.messages.counted("message waits", "messages wait")) to be sent, \(snapshot.bytes.used)"
        }
        guard cause == .application else { return "\(cause)" }
        let waiting =
            snapshot.messages > 0
            ? ", \(snapshot.messages.counted("message waits", "messages wait")) to be received" : ""
        return
            "the application has \(snapshot.unsettled - snapshot.messages) unsettled deliveries\(waiting), and the window is full"
    }
}
