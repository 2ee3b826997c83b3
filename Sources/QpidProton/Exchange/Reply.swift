// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// One answer that arrives once, with its waiters.
struct ReplyState<Value: Sendable>: Sendable {
    typealias Answer = Result<Value, AMQPError>

    enum Waiter: Sendable {
        case task(WaitingTask<Answer>)
        case callback(@Sendable (Answer) -> Void)

        var task: WaitingTask<Answer>? { if case .task(let task) = self { task } else { nil } }

        func resume(_ answer: Answer) {
            switch self {
            case .task(let task): task.resume(returning: answer)
            case .callback(let callback): callback(answer)
            }
        }
    }

    /// The waiters, by the numbers of the tasks. Callbacks have the number 0, and stay.
    typealias Waiters = WaitList<UInt64, Waiter>

    private(set) var answer: Answer?
    private var nextID: UInt64 = 0
    var waiters = Waiters()

    mutating func makeID() -> UInt64 {
        self.nextID += 1
        return self.nextID
    }

    /// Adds a waiter, or returns the answer.
    mutating func wait(_ waiter: Waiter, _ id: UInt64) -> Answer? {
        if let answer = self.answer { return answer }
        // The handler of a cancelled task has already run and found no waiter.
        if case .task = waiter, Task.isCancelled { return .failure(.cancelled) }
        self.waiters.append(id, waiter)
        return nil
    }

    /// Sets the answer and returns the waiters; `nil` if there was an answer already.
    mutating func resolve(_ answer: Answer) -> Waiters? {
        guard self.answer == nil else { return nil }
        self.answer = answer
        return self.waiters.takeAll()
    }
}

/// An answer that any number of tasks can await.
protocol Replying<Value>: Sendable {
    associatedtype Value: Sendable
    typealias Answer = Result<Value, AMQPError>

    /// The answer; `nil` until it has arrived.
    var answer: Answer? { get }
    /// Returns a number for the next waiter.
    func makeID() -> UInt64
    /// Adds a waiter, or returns the answer. A callback has the number 0.
    func wait(_ waiter: ReplyState<Value>.Waiter, _ id: UInt64) -> Answer?
    /// Removes a waiter.
    func stopWaiting(_ id: UInt64) -> WaitingTask<Answer>?
}

extension Replying {
    /// Calls `callback` with the answer: at once if there is one, otherwise on the thread that sets it.
    func whenResolved(_ callback: @escaping @Sendable (Answer) -> Void) {
        if let answer = self.wait(.callback(callback), 0) { callback(answer) }
    }

    /// Waits for an imminent answer that must not be lost: a cancelled task waits for it too.
    func finalAnswer() async -> Answer {
        if let answer = self.answer { return answer }
        return await withWaitingTask { (continuation: WaitingTask<Answer>) in
            self.whenResolved { continuation.resume(returning: $0) }
        }
    }

    /// Waits for the answer. A cancelled task stops waiting and throws; other tasks still receive the answer.
    @inline(__always)
    func value() async throws(AMQPError) -> Value {
        if let answer = self.answer { return try answer.get() }
        let id = self.makeID()
        return try await waitForAnswer {
            self.wait(.task($0), id)
        } leave: {
            self.stopWaiting(id)
        }
    }
}

/// The answer to a call.
final class Reply<Value: Sendable>: Replying {
    typealias Answer = Result<Value, AMQPError>

    private let state = Mutex(ReplyState<Value>())

    var answer: Answer? { self.state.withLock { $0.answer } }

    /// Sets the answer. Returns false if there was an earlier answer, which stays.
    @discardableResult
    func resolve(_ answer: Answer) -> Bool {
        guard let waiters = self.state.withLock({ $0.resolve(answer) }) else { return false }
        waiters.forEach { $0.resume(answer) }
        return true
    }

    func makeID() -> UInt64 {
        self.state.withLock { $0.makeID() }
    }

    func wait(_ waiter: ReplyState<Value>.Waiter, _ id: UInt64) -> Answer? {
        self.state.withLock { $0.wait(waiter, id) }
    }

    func stopWaiting(_ id: UInt64) -> WaitingTask<Answer>? {
        self.state.withLock { $0.waiters.remove(id) }?.task
    }
}

extension AMQPError {
    static let cancelled = AMQPError(condition: .cancelled, detail: "the waiting task was cancelled")
}
