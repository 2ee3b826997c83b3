// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

/// Another connection that shares the budget. The model records only its share of the bytes.
// Sendable because all mutable state is used on the event loop only, and the budget calls it there too.
final class ModelStranger: @unchecked Sendable {
    private let budget: AMQPMemoryBudget?
    private(set) var held = 0
    private(set) var wanted = 0

    init(_ budget: AMQPMemoryBudget?) {
        self.budget = budget
    }

    /// Reserves bytes, or waits for them.
    func take(_ bytes: Int) {
        guard self.wanted == 0 else { return }
        self.wanted = bytes
        self.tryTake()
    }

    private func tryTake() {
        guard self.wanted > 0, let budget = self.budget else { return }
        guard budget.tryReserve(self.wanted, as: ObjectIdentifier(self), orCall: { self.tryTake() }) else { return }
        self.held += self.wanted
        self.wanted = 0
    }

    /// Withdraws its request, and releases its bytes.
    func giveBack() {
        guard let budget = self.budget else { return }
        self.wanted = 0
        if budget.withdraw(ObjectIdentifier(self)) { budget.serve() }
        let bytes = self.held
        self.held = 0
        budget.release(bytes)
    }
}
