/// The part that one connection has in an ``AMQPMemoryBudget``. It is used behind the connection's lock.
struct BudgetShare: Sendable {
    /// What is owed to the budget. It is paid when no lock is held, for others may be called then.
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
    private var held = 0
    private var returned = 0
    private var mustServe = false

    /// - Parameters:
    ///   - id: The connection.
    ///   - callback: Called without a lock when it is the connection's turn to take from the budget.
    init(_ budget: AMQPMemoryBudget, id: ObjectIdentifier, callback: @escaping @Sendable () -> Void) {
        self.budget = budget
        self.id = id
        self.callback = callback
    }

    /// Takes bytes; when they are refused and `isWaiting`, the callback is called when it may be tried again.
    mutating func tryReserve(_ bytes: Int, isWaiting: Bool) -> Bool {
        guard self.budget.tryReserve(bytes, as: self.id, orCall: isWaiting ? self.callback : nil) else { return false }
        self.held += bytes
        return true
    }

    /// Takes bytes in the place of others that have been given back and not yet repaid.
    mutating func exchange(_ released: Int, for bytes: Int) -> Bool {
        guard self.returned >= released, self.budget.exchange(released, for: bytes) else { return false }
        self.returned -= released
        self.held += bytes
        return true
    }

    /// The bytes that must leave for that many to fit.
    func shortage(_ bytes: Int) -> Int {
        let (used, limit) = (self.budget.used.bytes - self.returned, self.budget.limit.bytes)
        return bytes > limit ? used : max(0, bytes - (limit - used))
    }

    mutating func release(_ bytes: Int) {
        self.held -= bytes
        self.returned += bytes
    }

    /// The connection need not be called any more, unless it is refused again.
    mutating func withdraw() {
        if self.budget.withdraw(self.id) { self.mustServe = true }
    }

    /// The connection is gone: all that it holds is owed.
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
