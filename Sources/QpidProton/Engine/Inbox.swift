internal import DequeModule
internal import Synchronization

/// What the event loop has for tasks that wait: elements in order, with their weight, until an end.
///
/// How many elements it holds is bounded by whoever pushes; it counts their weight and its peak.
final class Inbox<Element: Sendable>: Sendable {
    typealias Answer = Result<Element?, AMQPError>

    /// An element, its weight in bytes, and whether taking it is to be reported.
    struct Entry: Sendable {
        let element: Element
        let weight: Int
        let isReported: Bool
    }

    private struct State {
        var entries: Deque<Entry> = []
        var weight = 0
        var peakWeight = 0
        var unreported = 0
        var nextID: UInt64 = 0
        var waiters: Deque<(id: UInt64, continuation: CheckedContinuation<Answer, Never>)> = []
        var end: AMQPError??

        mutating func pop() -> Entry? {
            guard let entry = self.entries.popFirst() else { return nil }
            self.weight -= entry.weight
            if entry.isReported { self.unreported += 1 }
            return entry
        }

        /// What follows the last element: the error once, then nil.
        mutating func takeEnd() -> Answer? {
            guard let end = self.end else { return nil }
            self.end = .some(nil)
            return end.map { .failure($0) } ?? .success(nil)
        }
    }

    private let state = Mutex(State())
    private let reportEvery: Int
    private let isStarved: @Sendable () -> Bool
    private let report: @Sendable (Int) -> Void

    /// - Parameters:
    ///   - reportEvery: How many reported elements are taken before `report` is called with their number.
    ///   - isStarved: Whether a wait that begins is to report what was taken, be it nothing, so that more can come.
    ///   - report: Called from the task that takes an element.
    init(
        reportEvery: Int = .max,
        isStarved: @escaping @Sendable () -> Bool = { false },
        report: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.reportEvery = reportEvery
        self.isStarved = isStarved
        self.report = report
    }

    var weight: Int { self.state.withLock { $0.weight } }
    var peakWeight: Int { self.state.withLock { $0.peakWeight } }
    var hasWaiters: Bool { self.state.withLock { !$0.waiters.isEmpty } }
    var count: Int { self.state.withLock { $0.entries.count } }

    func push(contentsOf entries: [Entry]) {
        let (resumed, due) = self.state.withLock { state -> ([(CheckedContinuation<Answer, Never>, Answer)], Int) in
            guard state.end == nil else { return ([], 0) }
            for entry in entries {
                state.entries.append(entry)
                state.weight += entry.weight
            }
            state.peakWeight = max(state.peakWeight, state.weight)
            var resumed: [(CheckedContinuation<Answer, Never>, Answer)] = []
            while !state.waiters.isEmpty, let entry = state.pop() {
                resumed.append((state.waiters.removeFirst().continuation, .success(entry.element)))
            }
            return (resumed, self.takeDue(&state))
        }
        for (continuation, answer) in resumed { continuation.resume(returning: answer) }
        if due > 0 { self.report(due) }
    }

    /// Ends the sequence behind what it holds. The first end stays, and all who wait get it.
    func finish(_ error: AMQPError? = nil) {
        let resumed = self.state.withLock { state -> [(CheckedContinuation<Answer, Never>, Answer)] in
            guard state.end == nil else { return [] }
            state.end = .some(error)
            guard !state.waiters.isEmpty, let answer = state.takeEnd() else { return [] }
            return state.waiters.drain().map { ($0.continuation, answer) }
        }
        for (continuation, answer) in resumed { continuation.resume(returning: answer) }
    }

    /// Takes away what nobody has taken, and returns it.
    func removeAll() -> [Element] {
        self.state.withLock { state in
            defer {
                state.entries = []
                state.weight = 0
            }
            return state.entries.map(\.element)
        }
    }

    /// The next element if there is one; nil when there is none now, or never again.
    func poll() -> Element? {
        let (entry, due) = self.state.withLock { state in (state.pop(), self.takeDue(&state)) }
        if due > 0 { self.report(due) }
        return entry?.element
    }

    /// Up to `count` elements that are there now.
    func poll(max count: Int) -> [Element] {
        let (elements, due) = self.state.withLock { state in
            var elements: [Element] = []
            while elements.count < count, let entry = state.pop() { elements.append(entry.element) }
            return (elements, self.takeDue(&state))
        }
        if due > 0 { self.report(due) }
        return elements
    }

    func makeWaitID() -> UInt64 {
        self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
    }

    func isWaiting(_ id: UInt64) -> Bool {
        self.state.withLock { state in state.waiters.contains { $0.id == id } }
    }

    /// Waits for the next element; nil at the end, or when the wait is ended with ``endWait(_:_:)``.
    ///
    /// - Parameter onWait: Called when the wait has begun, so that it can be ended.
    func next(id: UInt64? = nil, onWait: () -> Void = {}) async throws(AMQPError) -> Element? {
        if let element = self.poll() { return element }
        let id = id ?? self.makeWaitID()
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                let (answer, due) = self.state.withLock { state -> (Answer?, Int) in
                    if let entry = state.pop() { return (.success(entry.element), self.takeDue(&state)) }
                    if let end = state.takeEnd() { return (end, 0) }
                    if Task.isCancelled { return (.failure(.cancelled), 0) }
                    state.waiters.append((id, continuation))
                    return (nil, 0)
                }
                if due > 0 { self.report(due) }
                guard let answer else {
                    if self.isStarved() { self.report(self.takeUnreported()) }
                    return onWait()
                }
                continuation.resume(returning: answer)
            }
        } onCancel: {
            self.endWait(id, .failure(.cancelled))
        }.get()
    }

    /// Ends one wait without an element, if it still waits.
    func endWait(_ id: UInt64, _ answer: Answer) {
        let continuation = self.state.withLock { state -> CheckedContinuation<Answer, Never>? in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return state.waiters.remove(at: index).continuation
        }
        continuation?.resume(returning: answer)
    }

    private func takeUnreported() -> Int {
        self.state.withLock { state in
            defer { state.unreported = 0 }
            return state.unreported
        }
    }

    private func takeDue(_ state: inout State) -> Int {
        guard state.unreported >= self.reportEvery else { return 0 }
        defer { state.unreported = 0 }
        return state.unreported
    }
}

extension Deque {
    fileprivate mutating func drain() -> [Element] {
        defer { self.removeAll() }
        return Array(self)
    }
}
