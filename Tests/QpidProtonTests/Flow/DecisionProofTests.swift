// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

@Suite
struct DecisionProofTests {
    @Test func laterCreditProvesEarlierDecisions() {
        var proof = DecisionProof()
        proof.arrived(10)
        for _ in 0..<5 { proof.send(1) }
        // Twenty messages may still arrive without the credit of this flow.
        proof.granted(after: 30, 2)
        proof.send(2)
        proof.arrived(30)
        #expect(proof.sent == 6 && proof.proven == 0)
        proof.arrived(31)
        #expect(proof.proven == 5 && proof.unproven == 1)
    }

    @Test func aFlowPrecedesTheDecisionsOfItsWrite() {
        var proof = DecisionProof()
        proof.send(1)
        proof.send(2)
        proof.granted(after: 0, 2)
        proof.arrived(1)
        #expect(proof.proven == 1)
    }

    @Test func theAnswerToADrainProvesEarlierDecisions() {
        var proof = DecisionProof()
        for _ in 0..<3 { proof.send(1) }
        proof.drains(2)
        proof.send(2)
        #expect(proof.proven == 0)
        proof.drained()
        #expect(proof.proven == 3)
    }

    @Test func manyUnusedGrantsKeepTheFirstAndTheLast() {
        var proof = DecisionProof()
        for write in 1...10 {
            proof.send(write)
            proof.granted(after: UInt64(write) * 10, write + 1)
        }
        proof.arrived(11)
        #expect(proof.proven == 1)
        proof.arrived(100)
        #expect(proof.proven == 1)
        proof.arrived(101)
        #expect(proof.proven == 10)
    }
}
