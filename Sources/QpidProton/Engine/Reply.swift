internal import Synchronization

/// One answer that arrives once, and those who wait for it.
struct ReplyState<Value: Sendable>: Sendable {
    typealias Answer = Result<Value, AMQPError>

    enum Waiter: Sendable {
        case task(id: UInt64, CheckedContinuation<Answer, Never>)
        case callback(@Sendable (Answer) -> Void)
    }

    /// Most replies have no waiter or one, which takes no memory of its own.
    enum Waiters: Sendable {
        case none
        case one(Waiter)
        case several([Waiter])

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

        mutating func remove(_ id: UInt64) -> CheckedContinuation<Answer, Never>? {
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
    fileprivate var waiters = Waiters.none

    mutating func makeID() -> UInt64 {
        self.nextID += 1
        return self.nextID
    }

    /// Sets the answer and returns those who wait; nil when there was an answer already.
    mutating func resolve(_ answer: Answer) -> Waiters? {
        guard self.answer == nil else { return nil }
        self.answer = answer
        defer { self.waiters = .none }
        return self.waiters
    }
}

/// A class around a ``ReplyState``, for any number of tasks that wait for its answer.
protocol Replying<Value>: AnyObject, Sendable {
    associatedtype Value: Sendable
    func withState<Part: Sendable>(_ body: (inout ReplyState<Value>) -> Part) -> Part
}

/// The answer to a call.
final class Reply<Value: Sendable>: Replying {
    private let state = Mutex(ReplyState<Value>())

    func withState<Part: Sendable>(_ body: (inout ReplyState<Value>) -> Part) -> Part {
        self.state.withLock { body(&$0) }
    }
}

/// The outcome of a message. There is one for every message, and a class that is not generic costs less to make and free.
final class OutcomeReply: Replying {
    private let state = Mutex(ReplyState<AMQPOutcome>())

    func withState<Part: Sendable>(_ body: (inout ReplyState<AMQPOutcome>) -> Part) -> Part {
        self.state.withLock { body(&$0) }
    }
}

extension Replying {
    typealias Answer = Result<Value, AMQPError>

    /// Gives the answer. Returns false when there was one already: it stays.
    @discardableResult
    func resolve(_ answer: Answer) -> Bool {
        switch self.withState({ $0.resolve(answer) }) {
        case nil: return false
        case .some(.none): break
        case .one(let waiter): Self.answer(waiter, answer)
        case .several(let waiters): for waiter in waiters { Self.answer(waiter, answer) }
        }
        return true
    }

    private static func answer(_ waiter: ReplyState<Value>.Waiter, _ answer: Answer) {
        switch waiter {
        case .task(_, let continuation): continuation.resume(returning: answer)
        case .callback(let callback): callback(answer)
        }
    }

    /// Calls `callback` with the answer, at once if there is one, else from where it is given.
    func whenResolved(_ callback: @escaping @Sendable (Answer) -> Void) {
        let answer = self.withState { state in
            if state.answer == nil { state.waiters.append(.callback(callback)) }
            return state.answer
        }
        if let answer { callback(answer) }
    }

    var answer: Answer? { self.withState { $0.answer } }

    /// Waits for the answer. A cancelled task stops waiting and throws; the answer stays open for the others.
    func value() async throws(AMQPError) -> Value {
        let (answer, id) = self.withState { ($0.answer, $0.makeID()) }
        if let answer { return try answer.get() }
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                let answer = self.withState { state -> Answer? in
                    if let answer = state.answer { return answer }
                    // The handler of a task that is cancelled already has run and found no waiter.
                    if Task.isCancelled { return .failure(.cancelled) }
                    state.waiters.append(.task(id: id, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let continuation = self.withState { $0.waiters.remove(id) }
            continuation?.resume(returning: .failure(.cancelled))
        }.get()
    }
}

extension AMQPError {
    static let cancelled = AMQPError(.local, .cancelled, "the waiting task was cancelled")
}
