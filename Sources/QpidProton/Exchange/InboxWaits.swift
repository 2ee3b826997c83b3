/// Who waits at an inbox, its end, and how much of what was taken is to be reported.
struct InboxWaits<Item: Sendable>: Sendable {
    typealias Answer = Result<Item?, AMQPError>
    typealias Continuation = WaitingTask<Answer>

    /// A wait that is over, to be told so without the lock.
    struct Resumption: Sendable {
        let continuation: Continuation
        let answer: Answer

        func resume() { self.continuation.resume(returning: self.answer) }
    }

    private var nextID: UInt64 = 0
    private var waiters = WaitList<UInt64, Continuation>()
    /// What follows the last item, for each that asks: the error, or `nil`.
    private(set) var end: Answer?
    var unreported = 0

    var isEmpty: Bool { self.waiters.isEmpty }
    var hasEnded: Bool { self.end != nil }

    mutating func makeID() -> UInt64 {
        self.nextID += 1
        return self.nextID
    }

    func contains(_ id: UInt64) -> Bool { self.waiters.contains(id) }

    mutating func append(_ id: UInt64, _ continuation: Continuation) {
        self.waiters.append(id, continuation)
    }

    mutating func remove(_ id: UInt64) -> Continuation? {
        self.waiters.remove(id)
    }

    /// Gives the first who waits its item.
    mutating func serve(_ item: Item) -> Resumption? {
        self.waiters.popFirst().map { Resumption(continuation: $0, answer: .success(item)) }
    }

    /// Takes the end, if it is the first. Returns the waits that it ends: who waits finds the inbox empty.
    mutating func finish(_ end: Answer) -> WaitList<UInt64, Continuation> {
        guard self.end == nil else { return WaitList() }
        self.end = end
        return self.waiters.takeAll()
    }

    /// What is to be reported now, if it is at least `least`; 0 otherwise.
    mutating func takeUnreported(least: Int = 0) -> Int {
        guard self.unreported >= least else { return 0 }
        defer { self.unreported = 0 }
        return self.unreported
    }
}

/// What an inbox holds behind its lock.
protocol InboxState {
    associatedtype Item: Sendable
    var waits: InboxWaits<Item> { get set }
    /// Takes the next item out, and counts it in what is to be reported.
    mutating func pop() -> Item?
}

extension InboxState {
    /// Gives the first who waits the next item.
    fileprivate mutating func serve() -> InboxWaits<Item>.Resumption? { self.pop().flatMap { self.waits.serve($0) } }
}

/// The waiting for what the event loop has for tasks: items in order, until an end.
protocol WaitingInbox: AnyObject, Sendable {
    associatedtype State: InboxState
    /// How many reported elements are taken before `report` is called with their number.
    var reportEvery: Int { get }
    /// Whether a wait that begins is to report what was taken, be it nothing, so that more can come.
    var isStarved: @Sendable () -> Bool { get }
    /// Called from the task that takes an element.
    var report: @Sendable (Int) -> Void { get }
    func withState<Part: Sendable>(_ body: (inout State) -> Part) -> Part
}

extension WaitingInbox {
    typealias Item = State.Item
    typealias Answer = InboxWaits<Item>.Answer

    var hasWaiters: Bool { self.withState { !$0.waits.isEmpty } }

    /// Adds to what is there, and serves those who wait, in the order in which they came.
    func add(_ body: (inout State) -> Void) {
        typealias Resumption = InboxWaits<Item>.Resumption
        // Mostly there is one who waits: no array is made for it.
        let (first, rest, due) = self.withState { state -> (Resumption?, [Resumption], Int) in
            guard !state.waits.hasEnded else { return (nil, [], 0) }
            body(&state)
            guard !state.waits.isEmpty, let first = state.serve() else { return (nil, [], 0) }
            var rest: [Resumption] = []
            while !state.waits.isEmpty, let resumption = state.serve() { rest.append(resumption) }
            return (first, rest, state.waits.takeUnreported(least: self.reportEvery))
        }
        first?.resume()
        for resumption in rest { resumption.resume() }
        if due > 0 { self.report(due) }
    }

    /// Ends the sequence behind what it holds. The first end stays. Every waiting task gets it, and every later one.
    func finish(_ error: AMQPError? = nil) {
        let end: Answer = error.map { .failure($0) } ?? .success(nil)
        self.withState { $0.waits.finish(end) }.forEach { $0.resume(returning: end) }
    }

    /// Takes something out under the lock, and reports what is due.
    func take<Taken: Sendable>(_ body: (inout State) -> Taken) -> Taken {
        let (taken, due) = self.withState { state in
            (body(&state), state.waits.takeUnreported(least: self.reportEvery))
        }
        if due > 0 { self.report(due) }
        return taken
    }

    func makeWaitID() -> UInt64 {
        self.withState { $0.waits.makeID() }
    }

    func isWaiting(_ id: UInt64) -> Bool {
        self.withState { $0.waits.contains(id) }
    }

    /// Waits for the next item; `nil` at the end, or when the wait is ended with ``endWait(_:_:)``.
    ///
    /// A cancelled task gets no item: it is asked before each taking. An item that was handed to a waiting task before its
    /// cancellation is returned.
    ///
    /// - Parameter onWait: Called when the wait has begun, so that it can be ended.
    @inline(__always)
    func nextItem(id: UInt64?, onWait: () -> Void) async throws(AMQPError) -> Item? {
        if Task.isCancelled { throw AMQPError.cancelled }
        if let item = self.take({ $0.pop() }) { return item }
        let id = id ?? self.makeWaitID()
        let item = try await waitForAnswer { continuation in
            let answer = self.take { state -> Answer? in
                if Task.isCancelled { return .failure(.cancelled) }
                if let item = state.pop() { return .success(item) }
                if let end = state.waits.end { return end }
                state.waits.append(id, continuation)
                return nil
            }
            guard answer == nil else { return answer }
            if self.isStarved() { self.report(self.withState { $0.waits.takeUnreported() }) }
            onWait()
            return nil
        } leave: {
            self.withState { $0.waits.remove(id) }
        }
        #if THREAD_SANITIZER
            // It does not see what a continuation brings that is resumed before it waits.
            self.withState { _ in }
        #endif
        return item
    }

    /// Ends one wait without an item, if it still waits.
    func endWait(_ id: UInt64, _ answer: Answer) {
        self.withState { $0.waits.remove(id) }?.resume(returning: answer)
    }
}
