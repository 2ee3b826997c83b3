// SPDX-License-Identifier: Apache-2.0

/// The part of an ``AMQPMemoryBudget`` that one connection or one client's sender holds, under the holder's lock.
struct BudgetShare: Sendable {
    /// The debt to the budget. It is paid without a lock, because the payment may call other connections.
    struct Repayment: Sendable {
        fileprivate let budget: AMQPMemoryBudget
        fileprivate let bytes: Int
        fileprivate let mustServe: Bool

        func pay() {
            self.budget.release(self.bytes)
            if self.mustServe { self.budget.serve() }
        }
    }

    let budget: AMQPMemoryBudget
    private let id: ObjectIdentifier
    private let callback: @Sendable () -> Void
    private(set) var held = 0
    private var returned = 0
    private var mustServe = false

    /// Creates a share without bytes.
    ///
    /// - Parameters:
    ///   - id: The identity of the connection.
    ///   - callback: Called without a lock when the connection may reserve from the budget.
    init(_ budget: AMQPMemoryBudget, id: ObjectIdentifier, callback: @escaping @Sendable () -> Void) {
        self.budget = budget
        self.id = id
        self.callback = callback
    }

    /// Reserves bytes. If the budget refuses the bytes and `isWaiting` is true, the callback announces the next
    /// attempt.
    mutating func tryReserve(_ bytes: Int, isWaiting: Bool) -> Bool {
        guard self.budget.tryReserve(bytes, as: self.id, orCall: isWaiting ? self.callback : nil) else { return false }
        self.held += bytes
        return true
    }

    /// Reserves bytes in place of released bytes that are not repaid yet.
    mutating func exchange(_ released: Int, for bytes: Int) -> Bool {
        guard self.returned >= released, self.budget.exchange(released, for: bytes) else { return false }
        self.returned -= released
        self.held += bytes
        return true
    }

    /// Returns the number of bytes that must be released so that `bytes` bytes fit.
    func shortage(_ bytes: Int) -> Int {
        self.budget.shortage(bytes, without: self.returned)
    }

    mutating func release(_ bytes: Int) {
        self.held -= bytes
        self.returned += bytes
    }

    /// Cancels the wait for the budget. A later refusal starts another wait.
    mutating func withdraw() {
        if self.budget.withdraw(self.id) { self.mustServe = true }
    }

    /// Ends the share: all its bytes become debt.
    mutating func close() {
        self.withdraw()
        self.release(self.held)
    }

    mutating func takeRepayment() -> Repayment? {
        guard self.returned > 0 || self.mustServe else { return nil }
        defer {
            self.returned = 0
            self.mustServe = false
        }
        return Repayment(budget: self.budget, bytes: self.returned, mustServe: self.mustServe)
    }
}
