// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A limit in bytes that any number of connections share.
///
/// As the ``AMQPConnection/Configuration/sendBudget`` of connections, it limits the bytes that they have accepted for
/// sending and not yet written. As their ``AMQPConnection/Configuration/receiveBudget``, it limits the received bytes
/// that they hold. One budget can be both. Messages to send then fill it up to ``low``, and up to seven eighths at
/// most. The rest stays reserved for reads, also after the last receiving connection has ended.
///
/// For sending, a message passes the limits of its link, session and connection and then the budget. A message larger
/// than the whole limit passes when the budget is empty.
///
/// When the budget is full, sending suspends. Sending resumes when the budget has fallen to ``low``, in the order in
/// which the connections began to wait. When a connection ends, its bytes return to the budget.
public final class AMQPMemoryBudget: Sendable {
    typealias ID = ObjectIdentifier

    struct State: Sendable {
        var used = 0
        var peak = 0
        var waiters = WaitList<ID, @Sendable () -> Void>()
        var waitingIDs: Set<ID> = []
        /// Whether a task is calling waiters. That task must notice bytes that other tasks release meanwhile: see
        /// `isAgain`.
        var isServing = false
        var isAgain = false
        /// The waiter whose callback is running. The budget admits no other waiter meanwhile.
        var served: ID?
        var hasGained = false
        var isRefused = false
        var readers = Readers()

        mutating func add(_ bytes: Int) {
            self.used += bytes
            self.peak = max(self.peak, self.used)
        }

        mutating func wait(_ id: ID, _ callback: @escaping @Sendable () -> Void) {
            guard self.waitingIDs.insert(id).inserted else { return }
            // A waiter whose callback could reserve no bytes stays the first.
            if self.served == id, !self.hasGained {
                self.waiters.prepend(id, callback)
            } else {
                self.waiters.append(id, callback)
            }
        }

        /// Returns whether the caller has to call the waiters.
        mutating func mustServe() -> Bool {
            guard !self.waiters.isEmpty || self.isServing else { return false }
            if self.isServing {
                self.isAgain = true
                return false
            }
            self.isServing = true
            return true
        }

        /// Returns the callback of the next waiter.
        mutating func next() -> (@Sendable () -> Void)? {
            let id = self.waiters.first?.id
            let isStuck = self.served != nil && !self.hasGained && id == self.served
            self.served = nil
            guard !isStuck || self.isAgain, let id, let callback = self.waiters.popFirst() else {
                self.isServing = false
                self.isAgain = false
                return nil
            }
            self.waitingIDs.remove(id)
            self.isAgain = false
            self.served = id
            self.hasGained = false
            self.isRefused = false
            return callback
        }
    }

    /// The most bytes that the budget admits.
    public let limit: AMQPByteCount
    /// The bytes at which waiting connections resume.
    public let low: AMQPByteCount
    let state = Mutex(State())
    /// The bytes expected for granted credit of receivers.
    let promised = Atomic(0)

    /// Creates a budget.
    ///
    /// - Parameters:
    ///   - limit: The most bytes that the budget admits; at least 1.
    ///   - low: The bytes at which waiting connections resume; an eighth below `limit` by default.
    public init(limit: AMQPByteCount, low: AMQPByteCount? = nil) {
        self.limit = max(1, limit)
        self.low = min(low ?? AMQPByteCount(limit.bytes - limit.bytes / 8), self.limit)
    }

    /// The bytes that the connections and the clients' senders hold now.
    public var used: AMQPByteCount { AMQPByteCount(self.state.withLock { $0.used }) }
    /// The highest value of ``used`` so far.
    public var peak: AMQPByteCount { AMQPByteCount(self.state.withLock { $0.peak }) }

    // MARK: For the ledgers

    /// Reserves bytes if there is room and no other connection waits.
    ///
    /// - Parameters:
    ///   - bytes: The number of bytes.
    ///   - callback: Called later if the budget refuses the bytes, as in ``whenBelowLow(_:_:)``. The refusal and the
    ///     registration are one step, so that no release can intervene.
    func tryReserve(_ bytes: Int, as id: ID? = nil, orCall callback: (@Sendable () -> Void)? = nil) -> Bool {
        self.state.withLock { state in
            let isItsTurn =
                if let served = state.served { served == id && !state.isRefused } else { state.waiters.isEmpty }
            if isItsTurn, state.used == 0 || bytes <= self.sendLimit(state) - state.used {
                state.add(bytes)
                state.hasGained = true
                return true
            }
            if let id {
                if state.served == id { state.isRefused = true }
                if let callback { state.wait(id, callback) }
            }
            return false
        }
    }

    /// Returns the number of bytes that must be released so that `bytes` bytes fit.
    ///
    /// - Parameter returned: The released bytes that the caller has not repaid yet.
    func shortage(_ bytes: Int, without returned: Int) -> Int {
        self.state.withLock { state in
            let (used, limit) = (state.used - returned, self.sendLimit(state))
            return bytes > limit ? used : max(0, bytes - (limit - used))
        }
    }

    /// Returns the most bytes that messages to send may fill.
    ///
    /// If connections also receive within the budget, the rest is reserved for their reads. The reads receive the
    /// credit and the outcomes that free the bytes of messages.
    private func sendLimit(_ state: State) -> Int {
        let limit = self.limit.bytes
        return state.readers.haveJoined ? min(self.low.bytes, limit - limit / 8) : limit
    }

    /// Reserves bytes with or without room.
    func reserve(_ bytes: Int) {
        self.state.withLock { $0.add(bytes) }
    }

    /// Replaces released bytes of a holder by new bytes if these fit. Returns false and changes no count otherwise.
    func exchange(_ released: Int, for bytes: Int) -> Bool {
        self.state.withLock { state in
            let rest = state.used - released
            guard rest == 0 || bytes <= self.sendLimit(state) - rest else { return false }
            state.used = rest
            state.add(bytes)
            return true
        }
    }

    /// Releases bytes, and calls waiters that may continue. The caller must hold no lock.
    func release(_ bytes: Int) {
        guard bytes > 0 else { return }
        let (mustServe, readers) = self.state.withLock { state in
            state.used -= bytes
            return (state.used <= self.low.bytes && state.mustServe(), self.takeReaders(&state))
        }
        if mustServe { self.serve() }
        for reader in readers { reader() }
    }

    /// Calls `callback` once, when the budget has fallen to its low mark and earlier waiters have been called. Calls it
    /// at once if both are already the case.
    ///
    /// In the callback, reserve bytes with ``tryReserve(_:as:orCall:)`` and the same `id`. Neither the caller nor the
    /// callback may hold a lock that another callback needs. Each `id` waits once.
    func whenBelowLow(_ id: ID, _ callback: @escaping @Sendable () -> Void) {
        let mustServe = self.state.withLock { state in
            state.wait(id, callback)
            return state.used <= self.low.bytes && !state.isServing && state.mustServe()
        }
        if mustServe { self.serve() }
    }

    /// Removes a waiter. Returns whether the caller must call ``serve()`` for the waiters after it, without a lock.
    func withdraw(_ id: ID) -> Bool {
        self.state.withLock { state in
            guard state.waitingIDs.remove(id) != nil else { return false }
            _ = state.waiters.remove(id)
            return state.mustServe()
        }
    }

    /// Calls the waiters in turn, until a waiter reserves no bytes.
    func serve() {
        while let callback = self.state.withLock({ $0.next() }) { callback() }
    }
}
