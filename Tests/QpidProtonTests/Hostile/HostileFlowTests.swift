// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Flows with impossible numbers. The library checks them against its own counts, and sends only the messages that they
/// allow.
@Suite(.deadline(minutes: 2))
struct HostileFlowTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let flow: Frame
        /// Whether a message may leave after the flow.
        let isOpen: Bool

        init(_ name: String, isOpen: Bool, _ flow: Frame) {
            self.testDescription = name
            self.flow = flow
            self.isOpen = isOpen
        }
    }

    static let wild: [Case] = [
        Case("a window of 0", isOpen: false, .flow(window: 0)),
        Case("a window of 2³² - 1", isOpen: true, .flow(window: .max)),
        Case("a next-incoming-id far behind", isOpen: false, .flow(nextIncomingID: 0xC000_0000, window: 10)),
        Case("a next-incoming-id far ahead, and no window", isOpen: true, .flow(nextIncomingID: 1_000, window: 0)),
        Case("an id and a window that wrap", isOpen: true, .flow(nextIncomingID: 0x8000_0000, window: .max)),
        Case("no next-incoming-id", isOpen: true, .flow(nextIncomingID: nil, window: 5)),
        Case("no credit", isOpen: false, .flow(handle: 0, deliveryCount: 0, credit: 0)),
        Case("credit of 2³² - 1", isOpen: true, .flow(handle: 0, deliveryCount: 0, credit: .max)),
        Case("a delivery-count far behind", isOpen: false, .flow(handle: 0, deliveryCount: 0x9000_0000, credit: 5)),
        Case("a delivery-count far ahead", isOpen: true, .flow(handle: 0, deliveryCount: 1_000, credit: 0)),
        Case("a credit that is negative in the end", isOpen: false, .flow(handle: 0, deliveryCount: .max, credit: 1)),
        Case("credit of 2³¹ - 1", isOpen: true, .flow(handle: 0, deliveryCount: 0, credit: 0x7FFF_FFFF)),
        Case("an outgoing window of 2³² - 1", isOpen: true, .flow(nextOutgoingID: 0xFFFF_0000, outgoingWindow: .max)),
    ]

    /// The addressed sender obeys the flow as far as possible. The other sender and the connection continue.
    @Test(arguments: bothRoles, Self.wild)
    func impossibleNumbersLeaveTheOtherSender(role: ConnectionHandler.Role, hostile: Case) async throws {
        try await withSenders(role) { senders, connection, adversary in
            try await adversary.send(hostile.flow)
            let transfer = try senders[0].trySend(encoded: payload(10))
            await adversary.peer.settle()
            #expect(connection.error == nil && senders[0].error == nil)
            #expect(try await adversary.frames(.transfer).count == (hostile.isOpen ? 1 : 0))
            #expect(try await senders[0].session.snapshot().remoteIncomingWindow <= Int(UInt32.max))
            #expect(senders[0].deliveryLimit <= Int(UInt32.max))
            // A correct flow repairs the state.
            try await adversary.send(.flow(handle: 0, deliveryCount: hostile.isOpen ? 1 : 0, credit: 100))
            await adversary.peer.settle()
            try await adversary.send(.disposition(0))
            #expect(try await transfer.outcome() == .accepted)
            #expect(try await adversary.frames(.transfer).count == 1)
            let second = begin { [sender = senders[1]] in try await sender.enqueue(encoded: payload(10)).outcome() }
            await adversary.peer.settle()
            try await adversary.send(.disposition(1))
            #expect(try await second.value == .accepted)
        }
    }

    /// As the sender, the peer claims to have used at most the granted credit, or to be far behind.
    @Test(arguments: bothRoles, [UInt32(0), 3, 4, 0xF000_0000, .max])
    func aDeliveryCountWithinTheCreditGrantsNoMore(role: ConnectionHandler.Role, count: UInt32) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            try await adversary.send(.flow(handle: 0, deliveryCount: count, credit: 0, available: .max))
            #expect(connection.error == nil && receivers[0].error == nil, "\(String(describing: receivers[0].error))")
            #expect(receivers[0].credit >= 0 && receivers[0].credit <= 4)
            try await self.expectSaneCredit(adversary)
            try await adversary.send(.transfer(handle: 1, id: 0, tag: [1], payload: payload(5)))
            _ = try await receivers[1].nextInTime()
        }
    }

    /// The peer claims more than the granted credit, and the link is detached as for messages without credit.
    @Test(arguments: bothRoles, [UInt32(5), 1_000, 0x7FFF_FFFF, 0x8000_0000])
    func aDeliveryCountBeyondTheCreditDetachesTheLink(role: ConnectionHandler.Role, count: UInt32) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            try await adversary.send(.flow(handle: 0, deliveryCount: count, credit: 0))
            let detach = try await adversary.error(in: .detach)
            #expect(detach?.condition == .linkTransferLimitExceeded && detach?.text.contains("counts more") == true)
            #expect(receivers[0].error?.scope == .link && receivers[0].error?.condition == .linkTransferLimitExceeded)
            try await self.expectSaneCredit(adversary)
            try await adversary.send(.transfer(handle: 1, id: 0, tag: [1], payload: payload(5)))
            _ = try await receivers[1].nextInTime()
            #expect(connection.error == nil)
        }
    }

    /// Expects that the library never grants more credit than its window allows.
    private func expectSaneCredit(_ adversary: Adversary) async throws {
        for flow in try await adversary.frames(.flow) {
            if case .uint(let credit) = flow.field(6) { #expect(credit <= 4, "\(flow.fields)") }
        }
    }

    /// The peer sends two thousand flows that request an answer, in one read. The library answers at most once for each
    /// link.
    @Test(arguments: bothRoles)
    func manyEchoRequestsHaveOneAnswerPerLink(role: ConnectionHandler.Role) async throws {
        try await withSenders(role) { senders, connection, adversary in
            let before = try await adversary.frames(.flow).count
            let flow = Frame.flow(handle: 0, deliveryCount: 0, credit: 100, echo: true)
            try await adversary.send(Array(repeating: flow, count: 2_000))
            #expect(try await adversary.frames(.flow).count - before <= 2)
            #expect(connection.error == nil && senders[0].error == nil)
        }
    }

    /// A flow with deep or numerous properties takes effect, but its properties are not exposed.
    @Test(arguments: bothRoles)
    func numerousFlowPropertiesAreNotExposed(role: ConnectionHandler.Role) async throws {
        try await withSenders(role, credit: 0) { senders, connection, adversary in
            for properties in [HostileValueTests.nested(10_000), HostileValueTests.manyNulls()] {
                let map = HostileValueTests.map(of: properties)
                let fields = Frame.flow(handle: 0, deliveryCount: 0, credit: 7).fields.prefix(10)
                try await adversary.send(HostileValueTests.frame(0x13, Array(fields), last: map))
                #expect(connection.error == nil)
                #expect(senders[0].flowProperties.isEmpty)
            }
            #expect(senders[0].deliveryLimit == 7)
        }
    }
}
