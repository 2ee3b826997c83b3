// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// The tasks that wait for the same event, in order.
///
/// A single waiter needs no allocation, because most lists have at most one waiter.
struct WaitList<ID: Equatable, Waiter> {
    typealias Entry = (id: ID, waiter: Waiter)

    fileprivate enum Storage {
        case none
        case one(Entry)
        case several(Deque<Entry>)
    }

    private var storage = Storage.none

    var isEmpty: Bool { self.first == nil }

    var first: Entry? {
        switch self.storage {
        case .none: nil
        case .one(let entry): entry
        case .several(let entries): entries.first
        }
    }

    func contains(_ id: ID) -> Bool {
        switch self.storage {
        case .none: false
        case .one(let entry): entry.id == id
        case .several(let entries): entries.contains { $0.id == id }
        }
    }

    mutating func append(_ id: ID, _ waiter: Waiter) {
        guard !self.isEmpty else { return self.storage = .one((id, waiter)) }
        var entries = self.takeEntries()
        entries.append((id, waiter))
        self.storage = .several(entries)
    }

    /// Adds a waiter before all other waiters.
    mutating func prepend(_ id: ID, _ waiter: Waiter) {
        guard !self.isEmpty else { return self.storage = .one((id, waiter)) }
        var entries = self.takeEntries()
        entries.prepend((id, waiter))
        self.storage = .several(entries)
    }

    private mutating func takeEntries() -> Deque<Entry> {
        defer { self.storage = .none }
        switch self.storage {
        case .none: return []
        case .one(let entry): return [entry]
        case .several(let entries): return entries
        }
    }

    /// Removes the first waiter.
    mutating func popFirst() -> Waiter? {
        if case .one(let entry) = self.storage {
            self.storage = .none
            return entry.waiter
        }
        return self.take { $0.popFirst() }
    }

    /// Removes a waiter; `nil` if it is not in the list.
    mutating func remove(_ id: ID) -> Waiter? {
        if case .one(let entry) = self.storage {
            guard entry.id == id else { return nil }
            self.storage = .none
            return entry.waiter
        }
        return self.take { entries in
            entries.firstIndex { $0.id == id }.map { entries.remove(at: $0) }
        }
    }

    private mutating func take(_ body: (inout Deque<Entry>) -> Entry?) -> Waiter? {
        guard !self.isEmpty else { return nil }
        var entries = self.takeEntries()
        let entry = body(&entries)
        if !entries.isEmpty { self.storage = .several(entries) }
        return entry?.waiter
    }

    /// Removes all waiters, in order.
    mutating func takeAll() -> Self {
        defer { self.storage = .none }
        return self
    }

    func forEach(_ body: (Waiter) -> Void) {
        switch self.storage {
        case .none: break
        case .one(let entry): body(entry.waiter)
        case .several(let entries): for entry in entries { body(entry.waiter) }
        }
    }
}

extension WaitList: Sendable where ID: Sendable, Waiter: Sendable {}
extension WaitList.Storage: Sendable where ID: Sendable, Waiter: Sendable {}

/// Suspends until the task receives an answer, or is cancelled.
///
/// - Parameters:
///   - enlist: Lists the task, or returns its answer. Checks for a cancellation in the same step, because `leave` may
///     have run.
///   - leave: Removes a cancelled task from the list.
@inline(__always)
func waitForAnswer<Value: Sendable>(
    _ enlist: (WaitingTask<Result<Value, AMQPError>>) -> Result<Value, AMQPError>?,
    leave: @Sendable () -> WaitingTask<Result<Value, AMQPError>>?
) async throws(AMQPError) -> Value {
    try await withTaskCancellationHandler {
        await withWaitingTask { (task: WaitingTask<Result<Value, AMQPError>>) in
            if let answer = enlist(task) { task.resume(returning: answer) }
        }
    } onCancel: {
        leave()?.resume(returning: .failure(.cancelled))
    }.get()
}
