// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The resource that a link's bytes wait for, and its wording in a refusal.
@Suite struct LaneStateTests {
    @Test func theCauseNamesTheMissingResource() {
        var state = LaneState(isEmpty: false)
        #expect(state.cause == .credit)
        state.credit = 1
        #expect(state.cause == .socket)
        state.isPaced = true
        #expect(state.cause == .rate)
        state.isBlocked = true
        #expect(state.cause == .remoteWindow)
        state.credit = 0
        #expect(state.cause == .credit)
        // A message that has begun keeps its credit, unless the peer has revoked it.
        state.isMidMessage = true
        #expect(state.cause == .remoteWindow)
        state.isHeld = true
        #expect(state.cause == .credit)
        state.isEmpty = true
        #expect(state.cause == .socket)
    }

    @Test func aRefusalNamesTheCauseWithItsFigures() {
        let large = SendRefusal(
            level: .session,
            bytes: 2_000,
            high: 1 << 20,
            low: 917_504,
            used: 1_048_000,
            cause: .credit
        )
        #expect(large.blockedBy == [.sessionLimit, .credit])
        let text =
            "the session's send limit of 1 MiB is full: 1048000 bytes wait because the peer granted no credit; "
            + "the message has 2000 bytes"
        #expect(large.error.detail == text)
        #expect(large.error.condition == .wouldBlock)
        #expect(large.error.blockedBy == large.blockedBy)
        let small = SendRefusal(level: .budget, bytes: 1, high: 1 << 20, low: 917_504, used: 1_000_000, cause: nil)
        #expect(small.blockedBy == [.memoryBudget])
        #expect(
            small.text
                == "the memory budget of 1 MiB is full: 1000000 bytes wait; more is accepted when 896 KiB or less wait"
        )
    }

    @Test func everyCauseHasWordsOfItsOwn() {
        #expect(Set(AMQPBlockCause.allCases.map(\.description)).count == AMQPBlockCause.allCases.count)
        #expect(AMQPBlockCause.credit.description == "the peer granted no credit")
    }

    @Test func theCauseIsPartOfTheErrorsIdentity() {
        var error = AMQPError(condition: .wouldBlock, detail: "x")
        #expect(error == AMQPError(condition: .wouldBlock, detail: "x"))
        error.blockedBy = [.credit]
        #expect(error != AMQPError(condition: .wouldBlock, detail: "x"))
        #expect(error.hashValue != AMQPError(condition: .wouldBlock, detail: "x").hashValue)
    }
}
