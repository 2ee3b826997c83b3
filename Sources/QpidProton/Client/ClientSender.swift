// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The core of a client's sender: its messages and its current link.
///
/// Tasks and event loops change it under one lock, and act on the change after releasing it. A sending task hands its
/// message to the link itself, without a hop. While the link has room, it holds the only copy of the message: see
/// ``sendOnLink(_:settled:_:mayWait:)``.
final class ClientSender: Sendable {
    typealias Queue = ReplayQueue<Accepted>

    /// A message that has a tracker.
    struct Accepted: Sendable {
        let message: ClientMessage
        let promise: TrackerPromise
    }

    /// A task that waits for room.
    struct Waiting: Sendable {
        let message: ClientMessage
        let reply: Reply<AMQPClient.Tracker>
    }

    struct State: Sendable {
        var queue: Queue
        /// The bytes of the queue in the connections' send budget; `nil` without a budget.
        var share: BudgetShare?
        /// The waiting task whose message the budget has refused. The budget calls the sender back in its turn.
        var refused: Reply<AMQPClient.Tracker>?
        var trackers = TrackerSource { _ in }
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
        /// Whether any message has had a deadline. Without deadlines, the sender does not read the clock.
        var hasDeadlines = false
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
        /// The answers of links, among them those that resolve the trackers of messages without a place.
        var answers: [TrackerSource.Answer] = []
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
    let state: Mutex<State>

    /// - Parameter budget: The send budget of the connections, in which all messages count; `nil` for none.
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
        let trackers = TrackerSource { [weak self] answers in
            guard let self else { return answers.forEach { $0.promise.resolve($0.result) } }
            self.answer(answers)
        }
        let share = budget.map { budget in
            BudgetShare(budget, id: ObjectIdentifier(self)) { [weak self] in self?.change { _, _ in } }
        }
        self.state.withLock { ($0.trackers, $0.share) = (trackers, share) }
    }

    deinit {
        let work = self.state.withLock { state in
            var work = Work()
            // A task may still wait for the outcome of a message.
            state.end = state.end ?? .senderIsClosed
            state.queue.endAll()
            self.takeFinished(&state, &work)
            state.trackers.close()
            state.share?.close()
            work.repayment = state.share?.takeRepayment()
            return work
        }
        work.resolved.forEach { $0.promise.resolve($0.answer) }
        work.repayment?.pay()
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
            self.pump(&state, link, at: self.now(state), &work)
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
        // A task that awaits an outcome finds its bytes free.
        work.repayment?.pay()
        for answer in work.answers { self.resolveOnLink(answer) }
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
    }

    /// Returns the time; zero while no message has had a deadline.
    func now(_ state: borrowing State) -> Duration { state.hasDeadlines ? self.clock.now : .zero }

    // MARK: To the link

    /// Hands over the messages that fit in the link. Returns whether it is full.
    @discardableResult
    func pump(_ state: inout State, _ link: AMQPSender, at now: Duration, _ work: inout Work) -> Bool {
        while let next = state.queue.next(at: now) {
            do throws(AMQPError) {
                let (bytes, options) = self.attempt(next.entry, at: now)
                try link.trySend(
                    encoded: bytes,
                    settled: next.entry.isSettled,
                    options: options,
                    as: next.entry.content.promise,
                    mayWait: true
                )
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
        while let (message, bytes, options) = next {
            let promise = message.entry.content.promise
            do throws(AMQPError) {
                try await link.enqueue(encoded: bytes, settled: message.entry.isSettled, options: options, as: promise)
            } catch {
                self.change { self.fail(&$0, message.key, error, &$1) }
            }
            next = self.takeForFeed(link)
        }
    }

    /// Hands over the messages that fit in the link, and returns the message that must wait. `nil` ends the feeding.
    private func takeForFeed(
        _ link: AMQPSender
    ) -> (next: (key: Queue.Key, entry: Queue.Entry), bytes: ByteBuffer, options: AMQPSendOptions)? {
        self.change { state, work in
            guard state.link === link, state.isFeeding else { return nil }
            let now = self.now(state)
            guard self.pump(&state, link, at: now, &work), let next = state.queue.next(at: now) else {
                state.isFeeding = false
                return nil
            }
            let (bytes, options) = self.attempt(next.entry, at: now)
            return (next, bytes, options)
        }
    }

    // MARK: From the link

    /// Handles a link's reports about messages.
    private func answer(_ answers: [TrackerSource.Answer]) {
        // Tasks wait for the lock meanwhile, so only the sums are added under the lock.
        var (accepted, bytes) = (0, 0)
        for answer in answers {
            guard let message = answer.acceptedOnLink else { continue }
            accepted += 1
            bytes += message.bytes.count
        }
        self.change { state, work in
            if accepted > 0 { state.queue.acceptedOnLink(accepted, bytes: bytes) }
            if accepted < answers.count {
                for answer in answers where answer.acceptedOnLink == nil { self.receive(answer, &state, &work) }
            }
            work.answers = answers
        }
    }

    private func receive(_ answer: TrackerSource.Answer, _ state: inout State, _ work: inout Work) {
        let promise = answer.promise
        switch (answer.result, promise.kept) {
        case (.success(let outcome), let message?): state.queue.settleOnLink(bytes: message.bytes.count, outcome)
        case (.failure(let error), let message?):
            self.fail(&state, self.takeBack(message, promise, &state), error, &work)
        case (.success(let outcome), nil):
            guard let key = self.key(of: promise, state), state.queue.settle(key, outcome) != nil else { return }
            work.resolved.append((promise, answer.result))
        case (.failure(let error), nil):
            if let key = self.key(of: promise, state) { self.fail(&state, key, error, &work) }
        }
    }

    private func key(of promise: TrackerPromise, _ state: borrowing State) -> Queue.Key? {
        guard let key = state.queue.key(at: promise.place) else { return nil }
        assert(state.queue.entry(key)?.content.promise == promise, "an answer for another message")
        return key
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
}
