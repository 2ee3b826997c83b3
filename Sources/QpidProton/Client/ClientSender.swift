// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The core of a client's sender: its messages and its current link.
///
/// Tasks and event loops change it under one lock, and act on the change after releasing it. A sending task hands its
/// message to the link itself, without a hop.
final class ClientSender: Sendable {
    typealias Queue = ReplayQueue<Accepted>

    /// A message that has a tracker.
    struct Accepted: Sendable {
        let message: ClientMessage
        let promise: TrackerPromise
        let tracker: AMQPTracker
    }

    /// A task that waits for room.
    struct Waiting: Sendable {
        let message: ClientMessage
        let reply: Reply<AMQPClient.Tracker>
    }

    struct State: Sendable {
        var queue: Queue
        /// The bytes of the queue in the connections' send budget, if there is one.
        var share: BudgetShare?
        /// The waiting task that the budget has refused, which continues in its turn.
        var refused: Reply<AMQPClient.Tracker>?
        var trackers = TrackerSource()
        var link: AMQPSender?
        /// Whether a task waits for the link's room with a message, which no other may overtake.
        var isFeeding = false
        var waiting: Deque<Waiting> = []
        /// Whether tasks wait until ample room is free.
        var isFull = false
        /// The error with which it refuses further messages.
        var end: AMQPError?
        /// Whether the link is closing for good.
        var isLeaving = false
        var lastLoss: AMQPError?
        /// Tasks that wait until the last link has reported every message, and until no message is left.
        var answered: [Reply<Void>] = []
        var emptied: [Reply<Void>] = []
        /// Tasks that wait until the link has received all messages in doubt.
        var handed: [Reply<Void>] = []
        /// The earliest deadline that may apply to a message without a link, and the deadline of the timer.
        var nextExpiry: Duration?
        var armed: Duration?
        /// The messages in doubt that the last link received again.
        var replayed = 0
        var knownAddress: String??
        var addressChange: (from: String?, to: String?)?
        /// The work that is unfinished after the end of the sender.
        var unfinished: AMQPUnfinished
    }

    /// The work to do after releasing the lock.
    struct Work: Sendable {
        var handed = FewElements<(key: Queue.Key, tracker: AMQPTracker)>()
        var resolved = FewElements<(promise: TrackerPromise, answer: Result<AMQPOutcome, AMQPError>)>()
        var admitted: [(reply: Reply<AMQPClient.Tracker>, answer: Result<AMQPClient.Tracker, AMQPError>)] = []
        var replies: [Reply<Void>] = []
        var feeds: AMQPSender?
        var lost: AMQPSender?
        var arms: Duration?
        var repayment: BudgetShare.Repayment?
    }

    let settings: AMQPClient.Sender.Configuration
    let name: String
    let clock: ClientClock
    let first = Reply<Void>()
    private let state: Mutex<State>

    /// - Parameter budget: The send budget of the connections, in which all messages of the queue count.
    init(
        _ settings: AMQPClient.Sender.Configuration,
        name: String,
        _ clock: ClientClock,
        _ budget: AMQPMemoryBudget? = nil
    ) {
        self.settings = settings
        self.name = name
        self.clock = clock
        let unfinished = AMQPUnfinished(linkName: name, address: settings.link.target.address)
        self.state = Mutex(State(queue: Queue(settings.limits), unfinished: unfinished))
        guard let budget else { return }
        let share = BudgetShare(budget, id: ObjectIdentifier(self)) { [weak self] in self?.change { _, _ in } }
        self.state.withLock { $0.share = share }
    }

    deinit {
        let repayment = self.state.withLock { state in
            state.trackers.close()
            state.share?.close()
            return state.share?.takeRepayment()
        }
        repayment?.pay()
    }

    var counts: AMQPClient.Fates { self.state.withLock { $0.queue.counts } }
    var bytes: (used: Int, peak: Int) { self.state.withLock { ($0.queue.used, $0.queue.peak) } }
    var link: AMQPSender? { self.state.withLock { $0.link } }
    var end: AMQPError? { self.state.withLock { $0.queue.hasEnded || $0.isLeaving ? $0.end : nil } }
    var unfinished: AMQPUnfinished { self.state.withLock { $0.unfinished } }

    // MARK: Changes

    /// Changes the state, and does the resulting work.
    func change<Value: Sendable>(_ body: (inout State, inout Work) -> Value) -> Value {
        let (value, work) = self.state.withLock { state in
            var work = Work()
            let value = body(&state, &work)
            self.complete(&state, &work)
            return (value, work)
        }
        self.perform(work)
        return value
    }

    /// Completes every change, under the lock.
    private func complete(_ state: inout State, _ work: inout Work) {
        if !state.isFeeding, state.queue.hasNext, let link = state.link {
            self.pump(&state, link, at: self.clock.now, &work)
        }
        self.returnBytes(&state)
        if !state.waiting.isEmpty { self.admit(&state, &work) }
        self.takeFinished(&state, &work)
        if !state.answered.isEmpty, !state.queue.isOpen, state.queue.isAnswered {
            work.replies += state.answered
            state.answered = []
        }
        if !state.handed.isEmpty, state.link == nil || state.queue.doubtful == 0 {
            work.replies += state.handed
            state.handed = []
        }
        if !state.emptied.isEmpty, state.queue.isEmpty, state.waiting.isEmpty {
            work.replies += state.emptied
            state.emptied = []
        }
        if let next = state.nextExpiry, state.armed.map({ next < $0 }) ?? true {
            state.armed = next
            work.arms = next
        }
        self.returnBytes(&state)
        work.repayment = state.share?.takeRepayment()
    }

    private func perform(_ work: Work) {
        work.handed.forEach { handed in handed.tracker.whenSettled { self.answer(handed.key, $0) } }
        work.resolved.forEach { $0.promise.resolve($0.answer) }
        for admitted in work.admitted { admitted.reply.resolve(admitted.answer) }
        for reply in work.replies { reply.resolve(.success(())) }
        if let link = work.feeds { Task { await self.feed(link) } }
        if let link = work.lost { Task { _ = await link.close() } }
        if let deadline = work.arms {
            Task { [weak self, clock] in
                try? await clock.sleep(until: deadline)
                self?.expire(armed: deadline)
            }
        }
        work.repayment?.pay()
    }

    // MARK: To the link

    /// Hands over the messages that fit in the link. Returns whether it is full.
    @discardableResult
    func pump(_ state: inout State, _ link: AMQPSender, at now: Duration, _ work: inout Work) -> Bool {
        while let next = state.queue.next(at: now) {
            do throws(AMQPError) {
                let (bytes, options) = self.attempt(next.entry, at: now)
                let tracker = try link.trySend(
                    encoded: bytes,
                    settled: next.entry.isSettled,
                    options: options
                )
                work.handed.append((next.key, tracker))
            } catch {
                guard error.condition == .wouldBlock else {
                    self.fail(&state, next.key, error, &work)
                    continue
                }
                state.queue.putBack(next.key)
                next.entry.content.promise.attempts = next.entry.attempts - 1
                if !state.isFeeding { work.feeds = link }
                state.isFeeding = true
                return true
            }
        }
        return false
    }

    private func attempt(_ entry: Queue.Entry, at now: Duration) -> (ByteBuffer, AMQPSendOptions) {
        let message = entry.content.message
        entry.content.promise.attempts = entry.attempts
        let bytes = message.bytes(at: now, attempt: entry.attempts, marksReplays: self.settings.marksReplays)
        return (bytes, message.options(at: now))
    }

    /// Waits for the link's room with one message after another, until the link has received all.
    private func feed(_ link: AMQPSender) async {
        var next = self.takeForFeed(link)
        while let (key, bytes, settled, options) = next {
            do throws(AMQPError) {
                let tracker = try await link.enqueue(encoded: bytes, settled: settled, options: options)
                tracker.whenSettled { self.answer(key, $0) }
            } catch {
                self.change { self.fail(&$0, key, error, &$1) }
            }
            next = self.takeForFeed(link)
        }
    }

    /// Hands over the messages that fit in the link, and returns the message that must wait. `nil` ends the feeding.
    private func takeForFeed(_ link: AMQPSender) -> (Queue.Key, ByteBuffer, Bool, AMQPSendOptions)? {
        self.change { state, work in
            guard state.link === link, state.isFeeding else { return nil }
            let now = self.clock.now
            guard self.pump(&state, link, at: now, &work), let next = state.queue.next(at: now) else {
                state.isFeeding = false
                return nil
            }
            let (bytes, options) = self.attempt(next.entry, at: now)
            return (next.key, bytes, next.entry.isSettled, options)
        }
    }

    // MARK: From the link

    /// Handles the link's report about a message.
    private func answer(_ key: Queue.Key, _ result: Result<AMQPOutcome, AMQPError>) {
        self.change { state, work in
            switch result {
            case .success(let outcome):
                guard let entry = state.queue.settle(key, outcome) else { return }
                work.resolved.append((entry.content.promise, result))
            case .failure(let error): self.fail(&state, key, error, &work)
            }
        }
    }

    /// Handles the failure of a message: by itself, or with its link.
    private func fail(_ state: inout State, _ key: Queue.Key, _ error: AMQPError, _ work: inout Work) {
        if Self.isAlone(error) {
            guard let failed = state.queue.fail(key, error.fate ?? .notSent) else { return }
            work.resolved.append((failed.entry.content.promise, .failure(error.concerning(failed.fate))))
            return
        }
        state.lastLoss = error
        // The task that keeps the link attached waits for its end.
        if state.queue.isOpen { work.lost = state.link }
        state.queue.comeBack(key, error.fate ?? .inDoubt)
        if let entry = state.queue.entry(key) { entry.content.promise.attempts = entry.attempts }
    }

    /// Returns whether an error concerns a message and not its link.
    private static func isAlone(_ error: AMQPError) -> Bool {
        error.scope == .delivery || error.condition == .invalidArgument || error.fate == .expired
            || error.fate == .dropped
    }

    /// Answers the messages whose fate the queue has decided.
    private func takeFinished(_ state: inout State, _ work: inout Work) {
        for finished in state.queue.takeFinished() {
            let content = finished.entry.content
            work.resolved.append((content.promise, .failure(self.error(of: finished, state))))
            guard finished.cause == .ended else { continue }
            if finished.fate == .inDoubt {
                state.unfinished.inDoubt.append(content.tracker)
            } else {
                state.unfinished.notSent.append(
                    AMQPUnfinished.Unsent(
                        payload: content.message.encoded,
                        options: content.message.options,
                        tracker: content.tracker
                    )
                )
            }
        }
    }

    private func error(of finished: Queue.Finished, _ state: State) -> AMQPError {
        let loss = state.lastLoss ?? AMQPError(scope: .connection, condition: .connectionLost)
        switch finished.cause {
        case .lost: return loss.concerning(finished.fate)
        case .ended: return (state.end ?? loss).concerning(finished.fate)
        case .dropped:
            return .client(.dropped, "a newer message replaced it at the limit", scope: .delivery, fate: finished.fate)
        case .expired:
            let message = finished.entry.content.message
            let time = message.deadline.map { "\($0 - message.start)" } ?? "its time"
            let text = "the message expired: no byte was sent within \(time)"
            return .client(.expired, text, scope: .delivery, fate: finished.fate)
        case .poison(let losses):
            let text = "the message was the first in doubt of \(losses) losses in a row, and is not sent again: \(loss)"
            var error = AMQPError.client(.poison, text, scope: .delivery, fate: finished.fate)
            error.underlying = loss
            return error
        }
    }

    // MARK: Deadlines

    private func expire(armed deadline: Duration) {
        self.change { state, work in
            guard state.armed == deadline else { return }
            state.armed = nil
            self.expire(&state, at: self.clock.now, &work)
        }
    }

    /// Finishes expired messages, and finds the next deadline.
    func expire(_ state: inout State, at now: Duration, _ work: inout Work) {
        var next = state.queue.expire(at: now)
        for waiting in state.waiting {
            guard let deadline = waiting.message.deadline else { continue }
            if deadline > now { next = min(next ?? deadline, deadline) }
        }
        state.waiting.removeAll { waiting in
            guard let deadline = waiting.message.deadline, deadline <= now else { return false }
            let text = "the message waited for \(deadline - waiting.message.start) for room"
            state.queue.refuse(.expired)
            work.admitted.append(
                (waiting.reply, .failure(.client(.expired, text, scope: .delivery, fate: .expired)))
            )
            return true
        }
        // No more often than a timer is worth its cost.
        state.nextExpiry = next.map { max($0, now + .milliseconds(5)) }
    }
}
