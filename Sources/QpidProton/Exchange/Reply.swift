internal import Synchronization

/// One answer that arrives once, and those who wait for it.
struct ReplyState<Value: Sendable>: Sendable {
    typealias Answer = Result<Value, AMQPError>

    enum Waiter: Sendable {
        case task(id: UInt64, WaitingTask<Answer>)
        case callback(@Sendable (Answer) -> Void)
    }

    /// Most replies have no waiter or one, which takes no memory of its own.
    enum Waiters: Sendable {
        case none
        case one(Waiter)
        case several([Waiter])

        var isEmpty: Bool {
            switch self {
            case .none: true
            case .one: false
            case .several(let waiters): waiters.isEmpty
            }
        }

        mutating func append(_ waiter: Waiter) {
            switch self {
            case .none: self = .one(waiter)
            case .one(let first): self = .several([first, waiter])
            case .several(var waiters):
                self = .none
                waiters.append(waiter)
                self = .several(waiters)
            }
        }

        mutating func remove(_ id: UInt64) -> WaitingTask<Answer>? {
            switch self {
            case .one(.task(id, let continuation)):
                self = .none
                return continuation
            case .several(var waiters):
                for index in waiters.indices {
                    guard case .task(id, let continuation) = waiters[index] else { continue }
                    waiters.remove(at: index)
                    self = .several(waiters)
                    return continuation
                }
                return nil
            case .none, .one: return nil
            }
        }
    }

    private(set) var answer: Answer?
    private var nextID: UInt64 = 0
    var waiters = Waiters.none

    mutating func makeID() -> UInt64 {
        self.nextID += 1
        return self.nextID
    }

    /// Adds one who waits, or returns the answer for it.
    mutating func wait(_ waiter: Waiter) -> Answer? {
        if let answer = self.answer { return answer }
        // The handler of a task that is cancelled already has run and found no waiter.
        if case .task = waiter, Task.isCancelled { return .failure(.cancelled) }
        self.waiters.append(waiter)
        return nil
    }

    /// Sets the answer and returns those who wait; nil when there was an answer already.
    mutating func resolve(_ answer: Answer) -> Waiters? {
        guard self.answer == nil else { return nil }
        self.answer = answer
        defer { self.waiters = .none }
        return self.waiters
    }
}

extension ReplyState.Waiters {
    /// Gives the answer to all.
    func resume(_ answer: ReplyState.Answer) {
        switch self {
        case .none: break
        case .one(let waiter): waiter.resume(answer)
        case .several(let waiters): for waiter in waiters { waiter.resume(answer) }
        }
    }
}

extension ReplyState.Waiter {
    fileprivate func resume(_ answer: ReplyState.Answer) {
        switch self {
        case .task(_, let continuation): continuation.resume(returning: answer)
        case .callback(let callback): callback(answer)
        }
    }
}

/// An answer that any number of tasks wait for.
protocol Replying<Value>: Sendable {
    associatedtype Value: Sendable
    typealias Answer = Result<Value, AMQPError>

    /// The answer, if it has come.
    var answer: Answer? { get }
    /// A name for one who is about to wait.
    func makeID() -> UInt64
    /// Adds one who waits, or returns the answer for it.
    func wait(_ waiter: ReplyState<Value>.Waiter) -> Answer?
    /// Takes out one who waits no longer.
    func stopWaiting(_ id: UInt64) -> WaitingTask<Answer>?
}

extension Replying {
    /// Calls `callback` with the answer, at once if there is one, else from where it is given.
    func whenResolved(_ callback: @escaping @Sendable (Answer) -> Void) {
        if let answer = self.wait(.callback(callback)) { callback(answer) }
    }

    /// Waits for an answer that comes soon and must not be lost: a cancelled task waits for it too.
    func finalAnswer() async -> Answer {
        if let answer = self.answer { return answer }
        return await withWaitingTask { (continuation: WaitingTask<Answer>) in
            self.whenResolved { continuation.resume(returning: $0) }
        }
    }

    /// Waits for the answer. A cancelled task stops waiting and throws; the answer stays open for the others.
    @inline(__always)
    func value() async throws(AMQPError) -> Value {
        if let answer = self.answer { return try answer.get() }
        let id = self.makeID()
        return try await withTaskCancellationHandler {
            await withWaitingTask { (continuation: WaitingTask<Answer>) in
                if let answer = self.wait(.task(id: id, continuation)) { continuation.resume(returning: answer) }
            }
        } onCancel: {
            self.stopWaiting(id)?.resume(returning: .failure(.cancelled))
        }.get()
    }
}

/// The answer to a call.
final class Reply<Value: Sendable>: Replying {
    typealias Answer = Result<Value, AMQPError>

    private let state = Mutex(ReplyState<Value>())

    var answer: Answer? { self.state.withLock { $0.answer } }

    /// Gives the answer. Returns false when there was one already: it stays.
    @discardableResult
    func resolve(_ answer: Answer) -> Bool {
        guard let waiters = self.state.withLock({ $0.resolve(answer) }) else { return false }
        waiters.resume(answer)
        return true
    }

    func makeID() -> UInt64 {
        self.state.withLock { $0.makeID() }
    }

    func wait(_ waiter: ReplyState<Value>.Waiter) -> Answer? {
        self.state.withLock { $0.wait(waiter) }
    }

    func stopWaiting(_ id: UInt64) -> WaitingTask<Answer>? {
        self.state.withLock { $0.waiters.remove(id) }
    }
}

extension AMQPError {
    static let cancelled = AMQPError(condition: .cancelled, detail: "the waiting task was cancelled")
}
