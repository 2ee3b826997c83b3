// SPDX-License-Identifier: Apache-2.0

/// The waiting tasks of an inbox, its end, and the number of received elements that are not reported.
struct InboxWaits<Item: Sendable>: Sendable {
    typealias Answer = Result<Item?, AMQPError>
    typealias Continuation = WaitingTask<Answer>

    /// A finished wait, which is answered without the lock.
    struct Resumption: Sendable {
        let continuation: Continuation
        let answer: Answer

        func resume() { self.continuation.resume(returning: self.answer) }
    }

    private var nextID: UInt64 = 0
    private var waiters = WaitList<UInt64, Continuation>()
    /// The result after the last item, for each task: the error, or `nil`.
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

    /// Hands an item to the first waiting task.
    mutating func serve(_ item: Item) -> Resumption? {
        self.waiters.popFirst().map { Resumption(continuation: $0, answer: .success(item)) }
    }

    /// Sets the end, unless it is set already. Returns the waits that it ends.
    mutating func finish(_ end: Answer) -> WaitList<UInt64, Continuation> {
        guard self.end == nil else { return WaitList() }
        self.end = end
        return self.waiters.takeAll()
    }

    /// Returns and resets the number to report, if it is at least `least`; otherwise returns 0.
    mutating func takeUnreported(least: Int = 0) -> Int {
        guard self.unreported >= least else { return 0 }
        defer { self.unreported = 0 }
        return self.unreported
    }
}

/// The state of an inbox behind its lock.
protocol InboxState {
    associatedtype Item: Sendable
    var waits: InboxWaits<Item> { get set }
    /// Removes the next item, and counts it as unreported.
    mutating func pop() -> Item?
}

extension InboxState {
    /// Hands the next item to the first waiting task.
    fileprivate mutating func serve() -> InboxWaits<Item>.Resumption? { self.pop().flatMap { self.waits.serve($0) } }
}

/// The queue between the event loop and the tasks: items in order, until an end.
protocol WaitingInbox: AnyObject, Sendable {
    associatedtype State: InboxState
    /// The number of received elements after which `report` is called.
    var reportEvery: Int { get }
    /// Whether the start of a wait reports the received elements, even if there are none, so that more can arrive.
    var isStarved: @Sendable () -> Bool { get }
    /// The function that reports a number of received elements. Called on the task that receives the last of them.
    var report: @Sendable (Int) -> Void { get }
    func withState<Part: Sendable>(_ body: (inout State) -> Part) -> Part
}

extension WaitingInbox {
    typealias Item = State.Item
    typealias Answer = InboxWaits<Item>.Answer

    var hasWaiters: Bool { self.withState { !$0.waits.isEmpty } }

    /// Appends items, and hands them to the waiting tasks in order.
    func add(_ body: (inout State) -> Void) {
        typealias Resumption = InboxWaits<Item>.Resumption
        // Usually one task waits, so no array is created for it.
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

    /// Ends the sequence after its items. The first end counts, for every waiting and every later task.
    func finish(_ error: AMQPError? = nil) {
        let end: Answer = error.map { .failure($0) } ?? .success(nil)
        self.withState { $0.waits.finish(end) }.forEach { $0.resume(returning: end) }
    }

    /// Removes elements under the lock, and reports the due number.
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

    /// Waits for the next item; `nil` at the end, or after ``endWait(_:_:)``.
    ///
    /// A cancelled task receives no item, because its cancellation is checked before each removal. A waiting task that
    /// received an item before its cancellation returns the item.
    ///
    /// - Parameter onWait: Called when the wait has started, so that the caller can limit it.
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
            // The thread sanitizer does not see the order if a continuation is resumed before it waits.
            self.withState { _ in }
        #endif
        return item
    }

    /// Ends one wait without an item, if it is still waiting.
    func endWait(_ id: UInt64, _ answer: Answer) {
        self.withState { $0.waits.remove(id) }?.resume(returning: answer)
    }
}
