// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Dispositions of unknown deliveries or of giant ranges, and settlements that never arrive.
@Suite(.deadline(minutes: 2))
struct HostileSettlementTests {
    /// Ranges of unknown ids, up to the widest, cost no more time than the known deliveries.
    @Test(arguments: bothRoles, [false, true])
    func rangesOfUnknownIDsCostLittleTime(role: ConnectionHandler.Role, ofReceiver: Bool) async throws {
        try await withSenders(role) { senders, connection, adversary in
            let ranges: [(UInt32, UInt32?)] = [
                (1_000, nil), (1_000, 2_000), (5, 0x7FFF_FFF0), (0xFFFF_FFF0, 0xFFFF_FFFF), (0xFFFF_FF00, nil),
            ]
            let begun = ContinuousClock.now
            for _ in 0..<50 {
                for (first, last) in ranges {
                    try await adversary.send(.disposition(first, last, isReceiver: ofReceiver))
                }
            }
            let time = ContinuousClock.now - begun
            #expect(connection.error == nil)
            // Proton needs ten seconds to search every id of one such range, and there are 50 ranges.
            #expect(time < .seconds(20 * slowdown), "\(time)")
            let sending = begin { [sender = senders[0]] in try await sender.enqueue(encoded: payload(10)).outcome() }
            await adversary.peer.settle()
            #expect(!sending.isDone)
            try await adversary.send(.disposition(0))
            #expect(try await sending.value == .accepted)
        }
    }

    /// A range of all ids, and ranges that end before they begin, are not ranges of serial numbers.
    @Test(arguments: bothRoles, [(UInt32(0), UInt32.max), (0x8000_0003, 2), (5, 4)])
    func aRangeOfNoSerialNumbersClosesTheConnection(role: ConnectionHandler.Role, range: (first: UInt32, last: UInt32))
        async throws
    {
        try await withSenders(role) { senders, connection, adversary in
            let transfer = try await senders[0].enqueue(encoded: payload(10))
            await adversary.peer.settle()
            try await adversary.send(.disposition(range.first, range.last))
            try await adversary.expectClose(.invalidField, "from \(range.first) to \(range.last)", connection)
            let error = await expectError(.invalidField) { try await transfer.outcome() }
            #expect(error?.fate == .inDoubt)
        }
    }

    /// A wide range with few known ids settles each known delivery once.
    @Test(arguments: bothRoles)
    func aWideRangeSettlesEachDeliveryOnce(role: ConnectionHandler.Role) async throws {
        try await withSenders(role) { senders, _, adversary in
            var transfers: [AMQPTracker] = []
            for _ in 0..<10 { transfers.append(try await senders[0].enqueue(encoded: payload(10))) }
            await adversary.peer.settle()
            try await adversary.send(.disposition(0, 0x7FFF_FFFE), .disposition(0, 9), .disposition(3))
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(senders[0].error == nil)
        }
    }

    /// The peer grants credit for two billion messages and settles none. The limit of unsettled messages still holds.
    @Test(arguments: bothRoles, [AMQPSenderSettleMode.unsettled, .mixed])
    func theUnsettledLimitHoldsIfNothingIsSettled(role: ConnectionHandler.Role, mode: AMQPSenderSettleMode) async throws
    {
        var settings = AMQPSender.Configuration(target: "q")
        settings.settleMode = mode
        settings.unsettledLimit = 100
        settings.sendLimit = AMQPSendLimit(high: 4_096)
        try await withSenders(role, 2, credit: 0x7FFF_FFFF, settings) { senders, connection, adversary in
            // The session window is equally wide.
            try await adversary.send(.flow(window: .max))
            var transfers: [AMQPTracker] = []
            while transfers.count < 1_000, let transfer = try? senders[0].trySend(encoded: payload(100)) {
                transfers.append(transfer)
                await adversary.peer.settle()
            }
            #expect(try await adversary.frames(.transfer).count == 100)
            let snapshot = try await senders[0].snapshot()
            #expect(snapshot.unsettled == 100 && snapshot.bytes.used <= 4_096)
            #expect(snapshot.blockedBy == .unsettled)
            #expect(throws: AMQPError.self) { try senders[0].trySend(encoded: payload(100)) }
            // The other link has a limit of its own.
            try senders[1].trySend(encoded: payload(100))
            await adversary.peer.settle()
            #expect(try await adversary.frames(.transfer).count == 101)
            // One settlement lets one more message leave.
            try await adversary.send(.disposition(0))
            #expect(try await transfers[0].outcome() == .accepted)
            await adversary.peer.settle()
            #expect(try await adversary.frames(.transfer).count == 102)
            try await adversary.send(.disposition(0, 101))
            await adversary.peer.settle()
            #expect(connection.error == nil)
            #expect(try await senders[0].snapshot().unsettled == transfers.count - 101)
        }
    }

    /// The delivery states that a peer can invent.
    @Test(arguments: bothRoles)
    func inventedDeliveryStates(role: ConnectionHandler.Role) async throws {
        let states: [(AMQPValue, AMQPOutcome)] = [
            (.described(0x24, .map([:])), .accepted),
            (.described(0x25, .list([.described(0x1D, .list([]))])), .rejected(nil)),
            (.described(0x26, .list([.string("?")])), .released),
            (.null, .settled), (.uint(3), .settled),
        ]
        try await withSenders(role) { senders, connection, adversary in
            for (index, (state, outcome)) in states.enumerated() {
                let transfer = try await senders[0].enqueue(encoded: payload(10))
                await adversary.peer.settle()
                try await adversary.send(.disposition(UInt32(index), state: state))
                #expect(try await transfer.outcome() == outcome, "\(state)")
            }
            #expect(connection.error == nil)
        }
    }
}
