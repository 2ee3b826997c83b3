// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

/// Another connection, of which the model knows no more than what it takes of the budget that it shares.
// Sendable for this reason: all that can change is used on the event loop alone, where the budget calls it too.
final class ModelStranger: @unchecked Sendable {
    private let budget: AMQPMemoryBudget?
    private(set) var held = 0
    private(set) var wanted = 0

    init(_ budget: AMQPMemoryBudget?) {
        self.budget = budget
    }

    /// Takes bytes, or waits for them.
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

    /// Wants nothing more, and gives back what it has.
    func giveBack() {
        guard let budget = self.budget else { return }
        self.wanted = 0
        if budget.withdraw(ObjectIdentifier(self)) { budget.serve() }
        let bytes = self.held
        self.held = 0
        budget.release(bytes)
    }
}
