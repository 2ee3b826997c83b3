// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The path from tasks to the event loop of one connection: messages, settlements and commands.
///
/// A call acquires one short lock, and wakes the loop at most once per batch. The ledgers share the lock, so that one
/// step counts and queues a message.
final class Outbox: Sendable {
    /// An item of the mail: a plain value. The mail stores references separately, so that a message costs only its
    /// bytes.
    enum Item: Sendable {
        case message(PendingMessage)
        case part(StreamPart)
        case taken(Int, receiver: SlotKey)
        /// The place of the next of ``Mail/commands``.
        case command
    }

    /// The posted items, in order.
    struct Mail: Sendable {
        var items: [Item] = []
        var commands: Deque<Command> = []
        /// The options of messages among the items, by the numbers of their outcomes.
        var choices: [UInt: SendChoice] = [:]
        /// The settlements, which precede all items.
        var settlements: [Settlement] = []

        var isEmpty: Bool { self.items.isEmpty && self.settlements.isEmpty }
    }

    /// The object that wakes the loop. A function would be wrapped again each time it leaves the lock.
    private final class Waker: Sendable {
        let wake: @Sendable () -> Void

        init(wake: @escaping @Sendable () -> Void) { self.wake = wake }
    }

    private struct State {
        var mail = Mail()
        var gate = SendGate<RoomWaiter>()
        /// The links by their levels, to find the link that fills a level.
        var links: [SlotKey: LinkStatus] = [:]
        var outcomes = OutcomeSource()
        var nextID: UInt64 = 0
        var nextStream: UInt32 = 0
        var waker: Waker?
        var closed: AMQPError?

        mutating func post(
            _ bytes: MessageBytes,
            lane: SlotKey,
            node: SlotKey,
            isSettled: Bool,
            choice: SendChoice?,
            promise given: OutcomePromise?,
            stream: UInt32 = 0
        ) -> OutcomeReply {
            let (promise, reply) = given.map { ($0, $0.reply) } ?? self.outcomes.next()
            if let choice { self.mail.choices[promise.number] = choice }
            let message = PendingMessage(
                bytes: bytes,
                outcome: promise,
                lane: lane,
                node: node,
                isSettled: isSettled,
                hasChoice: choice != nil,
                stream: stream
            )
            self.mail.items.append(.message(message))
            return reply
        }
    }

    private let state = Mutex(State())
    /// Whether a fetch of the mail by the loop is due. Changed under the lock.
    private let scheduled = Atomic(false)

    /// Whether the loop has mail, or had some at its last fetch. Only the loop reads this, without the lock.
    var isScheduled: Bool { self.scheduled.load(ordering: .acquiring) }

    /// Returns the waker of the loop, unless the loop fetches the mail anyway. Called under the lock.
    private func schedule(_ state: borrowing State) -> Waker? {
        guard !self.scheduled.load(ordering: .relaxed) else { return nil }
        self.scheduled.store(true, ordering: .releasing)
        return state.waker
    }

    /// Sets the waker of the loop, and wakes the loop at once if there is earlier mail.
    func open(wake: @escaping @Sendable () -> Void) {
        let isScheduled = self.state.withLock { state in
            state.waker = Waker(wake: wake)
            return self.isScheduled
        }
        if isScheduled { wake() }
    }

    /// Posts to the mail. Returns `false` after the end of the connection.
    private func post(_ body: (inout Mail) -> Void) -> Bool {
        let (isOpen, waker) = self.state.withLock { state -> (Bool, Waker?) in
            guard state.closed == nil else { return (false, nil) }
            body(&state.mail)
            return (true, self.schedule(state))
        }
        waker?.wake()
        return isOpen
    }

    /// Settles a delivery. Returns `false` after the end of the connection.
    func settle(_ settlement: Settlement) -> Bool {
        self.post { $0.settlements.append(settlement) }
    }

    /// Settles deliveries. Returns `false` after the end of the connection.
    func settle(contentsOf settlements: [Settlement]) -> Bool {
        self.post { $0.settlements.append(contentsOf: settlements) }
    }

    /// Reports received messages, which hold their places in a receiver's window until this report.
    func taken(_ count: Int, receiver: SlotKey) {
        _ = self.post { $0.items.append(.taken(count, receiver: receiver)) }
    }

    /// Posts a command. Returns `false` after the end of the connection.
    @discardableResult
    func post(_ command: Command) -> Bool {
        self.post { mail in
            mail.commands.append(command)
            mail.items.append(.command)
        }
    }

    var isClosed: Bool { self.state.withLock { $0.closed != nil } }

    /// The error that ended the connection.
    var closedError: AMQPError {
        self.state.withLock { $0.closed }
            ?? AMQPError(scope: .connection, condition: .closed, detail: "the connection is closed")
    }

    /// Bytes to remove from the ledger of a link and from its parents.
    typealias Release = (bytes: Int, node: SlotKey)

    /// Fetches the mail, and reuses the storage of `spare`. Also releases bytes.
    ///
    /// After a fetch with mail the loop fetches again by itself, so posting does not wake it.
    ///
    /// - Parameter now: The time of the loop's clock, in nanoseconds.
    func take(_ spare: inout Mail, releasing releases: [Release], at now: Int64) {
        let passed = self.state.withLock { state -> Passed in
            let passed = self.release(releases, &state, at: now)
            swap(&state.mail, &spare)
            if spare.isEmpty { self.scheduled.store(false, ordering: .releasing) }
            return passed
        }
        for (waiter, reply) in passed.waiters { waiter.continuation.resume(returning: .success(reply)) }
        passed.repayment?.pay()
    }
}

// MARK: Room

extension Outbox {
    enum Admission {
        case admitted(OutcomeReply)
        /// The first level without room, and the bytes of the message.
        case full(SendRefusal.Level, bytes: Int)
        case closed
    }

    /// Counts a message and hands it over, if there is room now.
    ///
    /// - Parameters:
    ///   - bytes: Creates the message's bytes after its admission.
    ///   - mayWait: Whether the caller waits for room after a refusal.
    func tryEnqueue(
        _ bytes: @autoclosure () -> MessageBytes,
        count: Int,
        lane: SlotKey,
        node: SlotKey,
        isSettled: Bool,
        choice: SendChoice? = nil,
        promise: OutcomePromise? = nil,
        mayWait: Bool = false
    ) -> Admission {
        let (admission, waker) = self.state.withLock { state -> (Admission, Waker?) in
            switch state.gate.admit(max(1, count), at: node, mayWait: mayWait) {
            case .closed: return (.closed, nil)
            case .full(let level): return (.full(level, bytes: max(1, count)), nil)
            case .admitted:
                let reply = state.post(
                    bytes(),
                    lane: lane,
                    node: node,
                    isSettled: isSettled,
                    choice: choice,
                    promise: promise
                )
                return (.admitted(reply), self.schedule(state))
            }
        }
        waker?.wake()
        return admission
    }

    /// Returns the reason why a full level has no room for a message of a link.
    func refusal(_ level: SendRefusal.Level, bytes: Int, _ link: SlotKey) -> SendRefusal {
        self.state.withLock { $0.gate.refusal(level, bytes: bytes, link, among: $0.links) }
    }

    /// Counts a message and hands it over as soon as there is room, in the order of the calls.
    ///
    /// Cancellation during the wait withdraws the message.
    ///
    /// - Parameters:
    ///   - reply: The outcome of the message of which the bytes are a further part; `nil` for a whole message or its
    ///     first part.
    ///   - command: Posted if the message has to wait.
    func enqueue(
        _ bytes: ByteBuffer,
        lane: SlotKey,
        node: SlotKey,
        isSettled: Bool,
        choice: SendChoice? = nil,
        promise: OutcomePromise? = nil,
        part: MessagePart = .whole,
        of reply: OutcomeReply? = nil,
        orPost command: Command? = nil
    ) async throws(AMQPError) -> OutcomeReply {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await withTaskCancellationHandler {
            await withWaitingTask { continuation in
                let waiter = RoomWaiter(
                    bytes: bytes,
                    lane: lane,
                    node: node,
                    isSettled: isSettled,
                    choice: choice,
                    promise: promise,
                    part: part,
                    reply: reply,
                    continuation: continuation
                )
                if let (result, waker) = self.admitOrWait(waiter, id: id) {
                    waker?.wake()
                    continuation.resume(returning: result)
                } else if let command {
                    self.post(command)
                }
            }
        } onCancel: {
            self.cancelWait(id, node: node)
        }.get()
    }

    private func admitOrWait(
        _ waiter: RoomWaiter,
        id: UInt64
    ) -> (Result<OutcomeReply, AMQPError>, Waker?)? {
        self.state.withLock { state in
            guard state.gate.isOpen(waiter.node) else { return (.failure(.senderClosed), nil) }
            if Task.isCancelled { return (.failure(.sendCancelled), nil) }
            let bytes = max(1, waiter.bytes.readableBytes)
            guard case .admitted = state.gate.admit(bytes, at: waiter.node, as: waiter.part, isWaiting: true) else {
                state.gate.wait(waiter, id: id, bytes: bytes, at: waiter.node, as: waiter.part)
                return nil
            }
            return (.success(self.post(waiter, &state)), self.schedule(state))
        }
    }

    private func post(_ waiter: RoomWaiter, _ state: inout State) -> OutcomeReply {
        let bytes = MessageChunk.message(waiter.bytes)
        guard let reply = waiter.reply else {
            return state.post(
                bytes,
                lane: waiter.lane,
                node: waiter.node,
                isSettled: waiter.isSettled,
                choice: waiter.choice,
                promise: waiter.promise,
                stream: waiter.part.number
            )
        }
        state.mail.items.append(.part(waiter.streamPart(bytes)))
        return reply
    }

    /// Ends a message in parts, so that other messages can pass.
    func endStream(_ number: UInt32, node: SlotKey) {
        Self.resume(self.state.withLock { self.pass($0.gate.endMessage(number, at: node), &$0) })
    }

    /// Returns a number for a message that is created while it is sent.
    func makeStream() -> UInt32 {
        self.state.withLock { state in
            state.nextStream = state.nextStream == .max ? 1 : state.nextStream + 1
            return state.nextStream
        }
    }

    private func cancelWait(_ id: UInt64, node: SlotKey) {
        let (cancelled, passed) = self.state.withLock { state in
            let (cancelled, admitted) = state.gate.cancel(id, at: node)
            return (cancelled, self.pass(admitted, &state))
        }
        cancelled?.continuation.resume(returning: .failure(.sendCancelled))
        Self.resume(passed)
    }

    /// Returns an outcome that has failed with `error`; `nil` after the end of the connection.
    func answered(_ error: AMQPError) -> OutcomeReply? {
        let outcome = self.state.withLock { $0.closed == nil ? $0.outcomes.next() : nil }
        outcome?.promise.resolve(.failure(error))
        return outcome?.reply
    }

    /// Returns the number of bytes that must be released for the first waiter at a link; `nil` if no message waits.
    func shortage(_ node: SlotKey) -> Int? {
        self.state.withLock { $0.gate.shortage(at: node) }
    }

    /// Removes bytes from the ledgers, and admits the first waiter of the link in their place. Returns false if there
    /// is no room for the waiter.
    func replace(_ bytes: Int, _ node: SlotKey) -> Bool {
        let (isReplaced, passed) = self.state.withLock { state in
            let (replaced, admitted) = state.gate.replace(bytes, at: node)
            return (replaced != nil, self.pass((replaced.map { [$0] } ?? []) + admitted, &state))
        }
        Self.resume(passed)
        return isReplaced
    }

    /// Drops the first waiting message at a link.
    func dropFirst(_ node: SlotKey, _ status: LinkStatus) {
        let (dropped, passed) = self.state.withLock { state in
            let refusal = state.gate.refusalOfFirst(node, among: state.links)
            let (waiter, admitted) = state.gate.cancelFirst(at: node)
            let passed = self.pass(admitted, &state)
            guard let waiter, let refusal else {
                return (nil as (RoomWaiter, SendRefusal, OutcomePromise, OutcomeReply)?, passed)
            }
            let (promise, reply) = state.outcomes.next()
            return ((waiter, refusal, promise, reply), passed)
        }
        if let (waiter, refusal, promise, reply) = dropped {
            status.drop(1, bytes: refusal.bytes)
            promise.resolve(.failure(.dropped(refusal)))
            waiter.continuation.resume(returning: .success(reply))
        }
        Self.resume(passed)
    }

    /// Returns the reason why the first waiting message of a link has no room; `nil` if no message waits.
    func refusalOfFirst(_ node: SlotKey) -> SendRefusal? {
        self.state.withLock { $0.gate.refusalOfFirst(node, among: $0.links) }
    }

    /// Removes bytes from the ledgers, and admits waiters that have room now. Called on the loop.
    func release(_ releases: [Release]) {
        Self.resume(self.state.withLock { self.release(releases, &$0) })
    }

    /// Removes bytes from the ledgers under the lock. Returns the consequences.
    ///
    /// - Parameter now: The time at which the socket accepted the bytes; `nil` if they were not written.
    private func release(_ releases: [Release], _ state: inout State, at now: Int64? = nil) -> Passed {
        var admitted: [RoomWaiter] = []
        for (bytes, node) in releases {
            let wasWaiting = state.gate.hasWaiters(node)
            let left = state.gate.hasTuners ? (state.gate.ledger(node)?.used ?? 0) - bytes : 0
            let passed = state.gate.release(bytes, at: node)
            if !passed.isEmpty { admitted += passed }
            guard let now, state.gate.hasTuners, let link = state.links[node] else { continue }
            let credit = link.credit.load(ordering: .relaxed)
            admitted += state.gate.tune(
                node,
                released: bytes,
                left: left,
                wasWaiting: wasWaiting,
                credit: credit,
                at: now
            )
        }
        return self.pass(admitted, &state)
    }

    /// The consequences of a release, which the caller carries out without a lock.
    private typealias Passed = (
        waiters: [(RoomWaiter, OutcomeReply)],
        waker: Waker?,
        repayment: BudgetShare.Repayment?
    )

    private func pass(_ admitted: [RoomWaiter], _ state: inout State) -> Passed {
        let repayment = state.gate.share?.takeRepayment()
        guard !admitted.isEmpty else { return ([], nil, repayment) }
        return (admitted.map { ($0, self.post($0, &state)) }, self.schedule(state), repayment)
    }

    private static func resume(_ passed: Passed) {
        passed.waker?.wake()
        for (waiter, reply) in passed.waiters { waiter.continuation.resume(returning: .success(reply)) }
        passed.repayment?.pay()
    }

    /// Shares a budget with other connections until the close.
    func share(_ budget: AMQPMemoryBudget) {
        let share = BudgetShare(budget, id: ObjectIdentifier(self)) {
            Self.resume(self.state.withLock { self.pass($0.gate.retry(), &$0) })
        }
        self.state.withLock { if $0.closed == nil { $0.gate.share = share } }
    }

    func addLevel(
        _ limit: AMQPSendLimit?,
        parent: SlotKey?,
        _ link: LinkStatus? = nil,
        isPrepaid: Bool = false
    ) -> SlotKey {
        let high = limit?.high.bytes ?? .max
        let low = limit?.low.bytes ?? .max
        return self.state.withLock { state in
            let isAutomatic = link != nil && limit?.isAutomatic == true
            let node = state.gate.addLevel(
                ByteLedger(high: high, low: low),
                parent: parent,
                isAutomatic: isAutomatic,
                isPrepaid: isPrepaid
            )
            state.links[node] = link
            return node
        }
    }

    /// Closes a level: fails its waiters, and admits no further messages.
    func closeLevel(_ node: SlotKey, _ error: AMQPError) {
        let (refused, passed) = self.state.withLock { state in
            state.links[node] = nil
            let (refused, admitted) = state.gate.closeLevel(node)
            return (refused, self.pass(admitted, &state))
        }
        for waiter in refused { waiter.continuation.resume(returning: .failure(error)) }
        Self.resume(passed)
    }

    func ledger(_ node: SlotKey) -> ByteLedger? {
        self.state.withLock { $0.gate.ledger(node) }
    }

    /// Closes the outbox, which accepts no mail and no messages any more. Returns the mail that the loop has not
    /// fetched.
    ///
    /// The levels of the links are already closed, so no task waits.
    func close(_ error: AMQPError) -> Mail {
        let (mail, repayment) = self.state.withLock { state -> (Mail, BudgetShare.Repayment?) in
            defer {
                state.mail = Mail()
                state.gate = SendGate()
                state.links = [:]
                state.outcomes.close()
            }
            state.closed = state.closed ?? error
            state.waker = nil
            state.gate.share?.close()
            return (state.mail, state.gate.share?.takeRepayment())
        }
        repayment?.pay()
        return mail
    }
}
