// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The share of one connection in a common budget. The share repays released bytes when no lock is held.
@Suite struct BudgetShareTests {
    private final class Holder: Sendable {
        let calls = Atomic(0)
        var count: Int { self.calls.load(ordering: .relaxed) }

        func share(_ budget: AMQPMemoryBudget) -> BudgetShare {
            BudgetShare(budget, id: ObjectIdentifier(self)) { self.calls.add(1, ordering: .relaxed) }
        }
    }

    private let budget = AMQPMemoryBudget(limit: 100, low: 50)
    private let holder = Holder()

    private func reserve(_ bytes: Int, _ share: inout BudgetShare) throws {
        let isReserved = share.tryReserve(bytes, isWaiting: false)
        try #require(isReserved)
    }

    private func pay(_ share: inout BudgetShare) throws {
        let repayment = share.takeRepayment()
        try #require(repayment).pay()
    }

    private func expectNoDebt(_ share: inout BudgetShare) {
        let repayment = share.takeRepayment()
        #expect(repayment == nil)
    }

    @Test func bytesReturnToTheBudgetWithTheRepaymentAlone() throws {
        var share = self.holder.share(self.budget)
        let (isFirst, isSecond) = (share.tryReserve(80, isWaiting: false), share.tryReserve(21, isWaiting: true))
        #expect(isFirst && !isSecond)
        share.release(80)
        #expect(self.budget.used == 80 && self.holder.count == 0)
        try self.pay(&share)
        #expect(self.budget.used == 0 && self.holder.count == 1)
        self.expectNoDebt(&share)
    }

    /// The budget calls no connection that does not wait.
    @Test func onlyAWaitingConnectionIsCalledAfterARefusal() throws {
        var share = self.holder.share(self.budget)
        let steps = [share.tryReserve(80, isWaiting: false), share.tryReserve(30, isWaiting: false)]
        #expect(steps == [true, false])
        share.release(80)
        try self.pay(&share)
        #expect(self.holder.count == 0)
    }

    @Test func anExchangeUsesOnlyReleasedBytes() throws {
        var share = self.holder.share(self.budget)
        try self.reserve(80, &share)
        share.release(30)
        let refused = [share.exchange(31, for: 1), share.exchange(30, for: 51)]
        #expect(refused == [false, false] && self.budget.used == 80)
        let isExchanged = share.exchange(30, for: 50)
        #expect(isExchanged && self.budget.used == 100)
        // The share must not repay the exchanged bytes a second time.
        self.expectNoDebt(&share)
        share.release(100)
        try self.pay(&share)
        #expect(self.budget.used == 0)
    }

    @Test func releasedBytesReduceTheShortage() throws {
        var share = self.holder.share(self.budget)
        try self.reserve(80, &share)
        #expect([20, 21, 100, 101].map { share.shortage($0) } == [0, 1, 80, 80])
        share.release(30)
        #expect([50, 51, 101].map { share.shortage($0) } == [0, 1, 50])
    }

    @Test func aCloseRepaysAllHeldBytes() throws {
        var share = self.holder.share(self.budget)
        try self.reserve(60, &share)
        share.release(10)
        let isMore = share.tryReserve(60, isWaiting: true)
        share.close()
        try self.pay(&share)
        #expect(!isMore && self.budget.used == 0)
        // A closed share no longer waits.
        #expect(self.holder.count == 0)
        self.expectNoDebt(&share)
    }

    @Test func aWithdrawalLetsLaterWaitersPass() throws {
        let other = Holder()
        var share = self.holder.share(self.budget)
        var behind = other.share(self.budget)
        let first = [share.tryReserve(40, isWaiting: false), share.tryReserve(90, isWaiting: true)]
        let isOvertaking = behind.tryReserve(1, isWaiting: true)
        #expect(first == [true, false] && !isOvertaking)
        share.withdraw()
        #expect(other.count == 0)
        try self.pay(&share)
        #expect(other.count == 1 && self.holder.count == 0 && self.budget.used == 40)
        // A connection that does not wait has no place in the queue.
        share.withdraw()
        self.expectNoDebt(&share)
    }
}
