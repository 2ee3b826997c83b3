// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The outcomes of a run of messages in one allocation, because every message has an outcome.
///
/// Sendable: the slots' states are atomic. The task in a slot belongs to the thread that last changed the state from or
/// to ``OutcomeBlock/State/watched``.
final class OutcomeBlock: @unchecked Sendable {
    typealias Answer = Result<AMQPOutcome, AMQPError>
    fileprivate typealias Waiter = ReplyState<AMQPOutcome>.Waiter
    fileprivate typealias Waiters = ReplyState<AMQPOutcome>.Waiters
    fileprivate typealias Callback = @Sendable (Answer) -> Void

    static let capacity = 64

    fileprivate struct Slot: ~Copyable {
        let block: Unmanaged<OutcomeBlock>
        let state = Atomic<State>(.open)
        /// The number of times that the message may have been sent, for a message that outlives its links.
        let attempts = Atomic<UInt16>(0)
        /// The place of that message with its holder, which reads and changes it under its lock.
        var place: UInt32 = 0
        /// The number of the waiting task; 0 for a callback.
        var id: UInt32 = 0
        var task: WaitingTask<Answer>?
    }

    fileprivate enum State: UInt8, AtomicRepresentable {
        case open
        /// A thread is about to store a task in the slot, or to remove it.
        case claimed
        /// One task waits in the slot, or one callback in ``OutcomeBlock/callbacks``.
        case watched
        /// The waiters are in ``Rest``.
        case listed
        case accepted
        case settled
        case released
        /// The answer is in ``Rest``.
        case other

        /// Creates the state of an answer.
        init(_ answer: Answer) {
            switch answer {
            case .success(.accepted): self = .accepted
            case .success(.settled): self = .settled
            case .success(.released): self = .released
            case .success(.rejected), .success(.modified), .failure: self = .other
            }
        }

        var answer: Answer? {
            switch self {
            case .accepted: .success(.accepted)
            case .settled: .success(.settled)
            case .released: .success(.released)
            case .open, .claimed, .watched, .listed, .other: nil
            }
        }

        var isAnswered: Bool { self.rawValue >= Self.accepted.rawValue }
    }

    /// The parts that a slot cannot hold, by the slot's index: several waiters, and answers with data.
    fileprivate struct Rest: Sendable {
        var waiters: [Int: Waiters] = [:]
        var answers: [Int: Answer] = [:]
        /// The unread failures, with their counts.
        var unread: [Int: UnreadFailure] = [:]

        mutating func markRead(_ index: Int) {
            if !self.unread.isEmpty { self.unread.removeValue(forKey: index)?.add(-1) }
        }
    }

    fileprivate let slots: UnsafeMutablePointer<Slot>
    /// The holder of the messages; `nil` if they do not outlive their links.
    fileprivate let owner: OutcomeOwner?
    /// The bytes of the messages that their holder keeps, with a place for each slot; `nil` without a holder. The holder
    /// sets them before a link receives the promise, and clears them after the answer.
    fileprivate let kept: UnsafeMutablePointer<KeptMessage?>?
    /// The callbacks, with a place for each slot; `nil` until the first callback.
    private let callbacks = Atomic<UnsafeMutablePointer<Callback?>?>(nil)
    fileprivate let rest = Mutex(Rest())
    fileprivate let nextID = Atomic<UInt32>(0)
    /// The count of promises without an answer.
    fileprivate let uses = UseCount()

    fileprivate init(_ owner: OutcomeOwner?) {
        self.owner = owner
        self.slots = .allocate(capacity: Self.capacity)
        self.kept = owner.map { _ in .allocate(capacity: Self.capacity) }
        self.kept?.initialize(repeating: nil, count: Self.capacity)
        for index in 0..<Self.capacity {
            (self.slots + index).initialize(to: Slot(block: Unmanaged.passUnretained(self)))
        }
        // The last use releases the block.
        _ = Unmanaged.passRetained(self)
    }

    deinit {
        self.slots.deinitialize(count: Self.capacity)
        self.slots.deallocate()
        self.kept?.deallocate()
        if let callbacks = self.callbacks.load(ordering: .acquiring) { Self.free(callbacks) }
    }

    private static func free(_ callbacks: UnsafeMutablePointer<Callback?>) {
        callbacks.deinitialize(count: Self.capacity)
        callbacks.deallocate()
    }

    /// Stores the callback of a slot that the calling thread has claimed.
    fileprivate func store(_ callback: @escaping Callback, _ index: Int) {
        if let callbacks = self.callbacks.load(ordering: .acquiring) { return callbacks[index] = callback }
        let made = UnsafeMutablePointer<Callback?>.allocate(capacity: Self.capacity)
        made.initialize(repeating: nil, count: Self.capacity)
        let (isOurs, first) = self.callbacks.compareExchange(
            expected: nil,
            desired: made,
            ordering: .acquiringAndReleasing
        )
        guard !isOurs, let first else { return made[index] = callback }
        Self.free(made)
        first[index] = callback
    }

    /// Removes and returns the callback of a slot that the calling thread has claimed or answered.
    fileprivate func takeCallback(_ index: Int) -> Callback? {
        guard let callbacks = self.callbacks.load(ordering: .acquiring) else { return nil }
        let callback = callbacks[index]
        callbacks[index] = nil
        return callback
    }

    fileprivate func close(after total: Int) {
        if self.uses.close(after: total) { Unmanaged.passUnretained(self).release() }
    }

    /// Removes and returns the listed waiters of a slot, by its state before the answer. If an answer arrives while a
    /// slot is claimed, the claiming thread handles it.
    fileprivate func takeWaiters(_ index: Int, _ before: State, _ rest: inout Rest) -> Waiters {
        before == .listed ? rest.waiters.removeValue(forKey: index) ?? Waiters() : Waiters()
    }
}

extension UnsafeMutablePointer<OutcomeBlock.Slot> {
    /// Changes the state if it is as expected.
    @inline(__always)
    fileprivate func change(_ expected: OutcomeBlock.State, to desired: OutcomeBlock.State) -> Bool {
        self.pointee.state.compareExchange(
            expected: expected,
            desired: desired,
            ordering: .sequentiallyConsistent
        ).exchanged
    }

    @inline(__always)
    fileprivate func takeWaiter() -> OutcomeBlock.Waiter? {
        if let task = self.pointee.task {
            self.pointee.task = nil
            return .task(task)
        }
        return self.pointee.block._withUnsafeGuaranteedRef { $0.takeCallback(self - $0.slots) }.map { .callback($0) }
    }
}

/// The connection's side of an outcome: a plain value that must be resolved once, on the event loop.
///
/// Sendable: the slot's state is atomic, its place is set before a link receives the promise and is then only read, and
/// the block lives until the promise is resolved.
struct OutcomePromise: Equatable, @unchecked Sendable {
    private let slot: UnsafeMutablePointer<OutcomeBlock.Slot>

    fileprivate init(_ slot: UnsafeMutablePointer<OutcomeBlock.Slot>) {
        self.slot = slot
    }

    /// The promise as a pointer for C.
    var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(self.slot) }

    /// A number that no other open promise has.
    var number: UInt { UInt(bitPattern: self.slot) }

    init(pointer: UnsafeMutableRawPointer) {
        self.slot = pointer.assumingMemoryBound(to: OutcomeBlock.Slot.self)
    }

    /// The waiters' side of the outcome.
    var reply: OutcomeReply {
        let block = self.slot.pointee.block.takeUnretainedValue()
        return OutcomeReply(block: block, index: self.slot - block.slots)
    }

    /// The number of times that the message may have been sent.
    var attempts: Int {
        get { Int(self.slot.pointee.attempts.load(ordering: .relaxed)) }
        nonmutating set { self.slot.pointee.attempts.store(UInt16(clamping: newValue), ordering: .relaxed) }
    }

    /// The place of the message with its holder.
    var place: Int {
        get { Int(self.slot.pointee.place) }
        nonmutating set { self.slot.pointee.place = UInt32(truncatingIfNeeded: newValue) }
    }

    /// The bytes of the message while they are in the memory of its link and its holder keeps them. The promise must
    /// have a holder.
    var kept: KeptMessage? {
        get { self.slot.pointee.block._withUnsafeGuaranteedRef { $0.kept?[self.slot - $0.slots] } }
        nonmutating set {
            self.slot.pointee.block._withUnsafeGuaranteedRef { $0.kept?[self.slot - $0.slots] = newValue }
        }
    }

    /// The holder of the message; `nil` if the message does not outlive its link.
    var owner: OutcomeOwner? { self.slot.pointee.block._withUnsafeGuaranteedRef { $0.owner } }

    func belongs(to reply: OutcomeReply) -> Bool {
        self.slot == reply.block.slots + reply.index
    }

    /// Sets the answer, or reports it to the holder of the message. The promise must not be used afterwards.
    func resolve(_ answer: OutcomeBlock.Answer) {
        if let owner = self.owner { return owner.receive(answer, for: self) }
        self.finish(answer)
    }

    /// Sets the answer. The promise must not be used afterwards.
    func finish(_ answer: OutcomeBlock.Answer) {
        let state = OutcomeBlock.State(answer)
        guard state != .other else { return self.resolveOther(answer, unread: nil) }
        switch self.slot.pointee.state.exchange(state, ordering: .acquiringAndReleasing) {
        case .watched: self.slot.takeWaiter()?.resume(answer)
        case .listed: self.resolveListed(answer)
        default: break
        }
        self.done()
    }

    /// Sets an error as the answer, and counts it until it is read. The promise must not be used afterwards.
    func fail(_ error: AMQPError, unread: UnreadFailure?) {
        if let owner = self.owner { return owner.receive(.failure(error), for: self) }
        self.resolveOther(.failure(error), unread: unread)
    }

    private func resolveListed(_ answer: OutcomeBlock.Answer) {
        self.slot.pointee.block._withUnsafeGuaranteedRef { block in
            block.rest.withLock { block.takeWaiters(self.slot - block.slots, .listed, &$0) }
        }.forEach { $0.resume(answer) }
    }

    private func resolveOther(_ answer: OutcomeBlock.Answer, unread: UnreadFailure?) {
        let (before, waiters) = self.slot.pointee.block._withUnsafeGuaranteedRef { block in
            block.rest.withLock { rest in
                let index = self.slot - block.slots
                rest.answers[index] = answer
                let before = self.slot.pointee.state.exchange(.other, ordering: .acquiringAndReleasing)
                let waiters = block.takeWaiters(index, before, &rest)
                if let unread, before != .watched, waiters.isEmpty {
                    unread.add(1)
                    rest.unread[index] = unread
                }
                return (before, waiters)
            }
        }
        if before == .watched { self.slot.takeWaiter()?.resume(answer) }
        waiters.forEach { $0.resume(answer) }
        self.done()
    }

    private func done() {
        let block = self.slot.pointee.block
        if block._withUnsafeGuaranteedRef({ $0.uses.done() }) { block.release() }
    }
}

/// The outcome of one message, for its waiters.
struct OutcomeReply: Replying, Hashable {
    typealias Value = AMQPOutcome

    let block: OutcomeBlock
    fileprivate let index: Int

    private var slot: UnsafeMutablePointer<OutcomeBlock.Slot> { self.block.slots + self.index }

    var answer: Answer? {
        let state = self.slot.pointee.state.load(ordering: .acquiring)
        guard state == .other else { return state.answer }
        return self.block.rest.withLock { rest in
            rest.markRead(self.index)
            return rest.answers[self.index]
        }
    }

    /// The place of the message with its holder, which reads it under its lock.
    var place: Int { Int(self.slot.pointee.place) }

    /// The number of times that the message may have been sent, if its holder counts them.
    var attempts: Int { Int(self.slot.pointee.attempts.load(ordering: .relaxed)) }

    func makeID() -> UInt64 { UInt64(self.block.nextID.wrappingAdd(1, ordering: .relaxed).newValue) }

    func wait(_ waiter: ReplyState<AMQPOutcome>.Waiter, _ id: UInt64) -> Answer? {
        guard self.slot.change(.open, to: .claimed) else { return self.waitInList(waiter, id) }
        self.slot.pointee.id = UInt32(truncatingIfNeeded: id)
        switch waiter {
        case .task(let task): self.slot.pointee.task = task
        case .callback(let callback): self.block.store(callback, self.index)
        }
        guard self.slot.change(.claimed, to: .watched) else {
            _ = self.slot.takeWaiter()
            return self.answer
        }
        guard case .task = waiter else { return nil }
        // The handler of an earlier cancellation may have run and found no task here.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return Task.isCancelled && self.stopWaiting(id) != nil ? .failure(.cancelled) : nil
    }

    /// Waits in the list, beside other waiters.
    private func waitInList(_ waiter: ReplyState<AMQPOutcome>.Waiter, _ id: UInt64) -> Answer? {
        let (answer, others) = self.block.rest.withLock { self.list(waiter, id, &$0) }
        if let answer { others.forEach { $0.resume(answer) } }
        return answer
    }

    /// Adds a waiter to the list, and moves the waiter in the slot there. Returns the answer, if there is one, and the
    /// other waiters for it.
    private func list(
        _ waiter: ReplyState<AMQPOutcome>.Waiter,
        _ id: UInt64,
        _ rest: inout OutcomeBlock.Rest
    ) -> (answer: Answer?, others: OutcomeBlock.Waiters) {
        rest.markRead(self.index)
        while !self.slot.pointee.state.load(ordering: .acquiring).isAnswered {
            if self.slot.change(.watched, to: .claimed) {
                if let first = self.slot.takeWaiter() {
                    rest.waiters[self.index, default: .init()].append(UInt64(self.slot.pointee.id), first)
                }
                // The answer may have arrived meanwhile.
                _ = self.slot.change(.claimed, to: .listed)
            }
            // Another thread may have claimed the slot for a few instructions.
            guard self.slot.change(.open, to: .listed) || self.slot.change(.listed, to: .listed) else { continue }
            // The handler of a cancelled task has already run and found no waiter.
            if case .task = waiter, Task.isCancelled { return (.failure(.cancelled), .init()) }
            rest.waiters[self.index, default: .init()].append(id, waiter)
            return (nil, .init())
        }
        let answer = self.slot.pointee.state.load(ordering: .acquiring).answer ?? rest.answers[self.index]
        return (answer, rest.waiters.removeValue(forKey: self.index) ?? .init())
    }

    func stopWaiting(_ id: UInt64) -> WaitingTask<Answer>? {
        if self.slot.change(.watched, to: .claimed) {
            if UInt64(self.slot.pointee.id) == id, case .task(let task)? = self.slot.takeWaiter() {
                // If this change fails, the answer has arrived, and no task waits for it any more.
                _ = self.slot.change(.claimed, to: .open)
                return task
            }
            if !self.slot.change(.claimed, to: .watched), let waiter = self.slot.takeWaiter(), let answer = self.answer
            {
                waiter.resume(answer)
            }
            return nil
        }
        return self.block.rest.withLock { $0.waiters[self.index]?.remove(id)?.task }
    }

    static func == (left: Self, right: Self) -> Bool { left.block === right.block && left.index == right.index }

    func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self.block))
        hasher.combine(self.index)
    }
}

/// The source of the outcomes of a connection's messages, created block by block.
struct OutcomeSource {
    private var block: OutcomeBlock?
    private var count = 0
    private let owner: OutcomeOwner?

    /// - Parameter owner: The holder of the messages; `nil` if they do not outlive their links.
    init(_ owner: OutcomeOwner? = nil) { self.owner = owner }

    /// Returns the two sides of the next outcome.
    mutating func next() -> (promise: OutcomePromise, reply: OutcomeReply) {
        let block = self.block ?? OutcomeBlock(self.owner)
        let index = self.count
        self.block = block
        self.count += 1
        if self.count == OutcomeBlock.capacity { self.close() }
        return (OutcomePromise(block.slots + index), OutcomeReply(block: block, index: index))
    }

    /// Frees the block when all its promises are resolved.
    mutating func close() {
        self.block?.close(after: self.count)
        self.block = nil
        self.count = 0
    }
}
