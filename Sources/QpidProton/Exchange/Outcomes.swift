internal import Synchronization

/// The outcomes of a run of messages, in one allocation: there is one for every message.
///
/// Proof of being Sendable: the slots' states are atomic, and nothing else of them changes.
final class OutcomeBlock: @unchecked Sendable {
    typealias Answer = Result<AMQPOutcome, AMQPError>

    static let capacity = 64

    fileprivate struct Slot: ~Copyable {
        let block: Unmanaged<OutcomeBlock>
        let state = Atomic<State>(.open)
    }

    fileprivate enum State: UInt8, AtomicRepresentable {
        case open
        /// Somebody waits: see ``Rest``.
        case watched
        case accepted
        case settled
        case released
        /// The answer is in ``Rest``.
        case other

        /// The states that are an answer by themselves.
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
            case .open, .watched, .other: nil
            }
        }
    }

    /// What a state cannot say, by slot: those who wait, and answers with a reason.
    fileprivate struct Rest: Sendable {
        var nextID: UInt64 = 0
        var replies: [Int: ReplyState<AMQPOutcome>] = [:]
        /// The failures that no one has read, where they are counted.
        var unread: [Int: UnreadFailure] = [:]

        mutating func markRead(_ index: Int) {
            if !self.unread.isEmpty { self.unread.removeValue(forKey: index)?.add(-1) }
        }
    }

    fileprivate let slots: UnsafeMutablePointer<Slot>
    fileprivate let rest = Mutex(Rest())
    /// Promises that have not been kept.
    fileprivate let uses = UseCount()

    fileprivate init() {
        self.slots = .allocate(capacity: Self.capacity)
        for index in 0..<Self.capacity {
            (self.slots + index).initialize(to: Slot(block: Unmanaged.passUnretained(self)))
        }
        // Given back with the last use.
        _ = Unmanaged.passRetained(self)
    }

    deinit {
        self.slots.deinitialize(count: Self.capacity)
        self.slots.deallocate()
    }

    fileprivate func close(after total: Int) {
        if self.uses.close(after: total) { Unmanaged.passUnretained(self).release() }
    }
}

/// The connection's side of an outcome: a plain value that has to be resolved once, on the event loop.
///
/// Proof of being Sendable: the slot's state is atomic, and the block lives until the promise is resolved.
struct OutcomePromise: @unchecked Sendable {
    private let slot: UnsafeMutablePointer<OutcomeBlock.Slot>

    fileprivate init(_ slot: UnsafeMutablePointer<OutcomeBlock.Slot>) {
        self.slot = slot
    }

    /// The promise where C keeps a pointer.
    var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(self.slot) }

    /// Tells the promise from all others that have not been kept.
    var number: UInt { UInt(bitPattern: self.slot) }

    init(pointer: UnsafeMutableRawPointer) {
        self.slot = pointer.assumingMemoryBound(to: OutcomeBlock.Slot.self)
    }

    /// The other side.
    var reply: OutcomeReply {
        let block = self.slot.pointee.block.takeUnretainedValue()
        return OutcomeReply(block: block, index: self.slot - block.slots)
    }

    func belongs(to reply: OutcomeReply) -> Bool {
        self.slot == reply.block.slots + reply.index
    }

    /// Gives the answer. The promise must not be used any more.
    func resolve(_ answer: OutcomeBlock.Answer) {
        let state = OutcomeBlock.State(answer)
        if state == .other {
            self.answerRest(answer) { self.slot.pointee.state.store(.other, ordering: .releasing) }
        } else if self.slot.pointee.state.exchange(state, ordering: .acquiringAndReleasing) == .watched {
            self.answerRest(answer) {}
        }
        let block = self.slot.pointee.block
        if block._withUnsafeGuaranteedRef({ $0.uses.done() }) { block.release() }
    }

    /// Gives an error as the answer, and counts it until it is read. The promise must not be used any more.
    func fail(_ error: AMQPError, unread: UnreadFailure?) {
        guard let unread else { return self.resolve(.failure(error)) }
        let block = self.slot.pointee.block
        let waiters = block._withUnsafeGuaranteedRef { block in
            block.rest.withLock { rest in
                let index = self.slot - block.slots
                self.slot.pointee.state.store(.other, ordering: .releasing)
                let waiters = rest.replies[index, default: ReplyState()].resolve(.failure(error))
                if waiters?.isEmpty != false {
                    unread.add(1)
                    rest.unread[index] = unread
                }
                return waiters
            }
        }
        waiters?.resume(.failure(error))
        if block._withUnsafeGuaranteedRef({ $0.uses.done() }) { block.release() }
    }

    private func answerRest(_ answer: OutcomeBlock.Answer, _ body: () -> Void) {
        let waiters = self.slot.pointee.block._withUnsafeGuaranteedRef { block in
            block.rest.withLock { rest in
                body()
                return rest.replies[self.slot - block.slots, default: ReplyState()].resolve(answer)
            }
        }
        waiters?.resume(answer)
    }
}

/// The outcome of one message, for those who wait for it.
struct OutcomeReply: Replying, Hashable {
    typealias Value = AMQPOutcome

    let block: OutcomeBlock
    fileprivate let index: Int

    var answer: Answer? {
        let state = self.block.slots[self.index].state.load(ordering: .acquiring)
        guard state == .other else { return state.answer }
        return self.block.rest.withLock { rest in
            rest.markRead(self.index)
            return rest.replies[self.index]?.answer
        }
    }

    func makeID() -> UInt64 {
        self.block.rest.withLock { rest in
            rest.nextID += 1
            return rest.nextID
        }
    }

    func wait(_ waiter: ReplyState<AMQPOutcome>.Waiter) -> Answer? {
        self.block.rest.withLock { rest in
            let state = self.block.slots[self.index].state.compareExchange(
                expected: .open,
                desired: .watched,
                ordering: .acquiringAndReleasing
            ).original
            rest.markRead(self.index)
            // An answer that comes from here on takes the lock for those who wait.
            return state.answer ?? rest.replies[self.index, default: ReplyState()].wait(waiter)
        }
    }

    func stopWaiting(_ id: UInt64) -> WaitingTask<Answer>? {
        self.block.rest.withLock { $0.replies[self.index]?.waiters.remove(id) }
    }

    static func == (left: Self, right: Self) -> Bool { left.block === right.block && left.index == right.index }

    func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self.block))
        hasher.combine(self.index)
    }
}

/// Makes the outcomes of a connection's messages, block by block.
struct OutcomeSource {
    private var block: OutcomeBlock?
    private var count = 0

    /// The two sides of the next outcome.
    mutating func next() -> (promise: OutcomePromise, reply: OutcomeReply) {
        let block = self.block ?? OutcomeBlock()
        let index = self.count
        self.block = block
        self.count += 1
        if self.count == OutcomeBlock.capacity { self.close() }
        return (OutcomePromise(block.slots + index), OutcomeReply(block: block, index: index))
    }

    /// Lets the block go when all its promises are kept.
    mutating func close() {
        self.block?.close(after: self.count)
        self.block = nil
        self.count = 0
    }
}
