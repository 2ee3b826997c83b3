// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Transfers beyond the credit, the window or the size limit. The link or the session ends, and the rest continues.
@Suite(.deadline(minutes: 2))
struct HostileTransferTests {
    /// Expects that the other link still receives a message, and that its acceptance reaches the peer.
    private func expectAlive(_ receiver: AMQPReceiver, handle: UInt32, id: UInt32, _ adversary: Adversary) async throws
    {
        try await adversary.send(.transfer(handle: handle, id: id, tag: [9], payload: payload(10)))
        let delivery = try await receiver.nextInTime()
        delivery.accept()
        await adversary.peer.settle()
        let dispositions = try await adversary.frames(.disposition)
        #expect(dispositions.contains { $0.field(1) == .uint(id) })
        #expect(receiver.error == nil && receiver.session.connection.error == nil)
    }

    private func expectDetach(
        _ condition: AMQPCondition,
        _ text: String,
        _ receiver: AMQPReceiver,
        _ adversary: Adversary
    ) async throws {
        let detach = try await adversary.error(in: .detach)
        #expect(detach?.condition == condition && detach?.text.contains(text) == true, "\(String(describing: detach))")
        let error = try #require(receiver.error)
        #expect(error.scope == .link && error.condition == condition && error.detail.contains(text), "\(error)")
        #expect(error.origin == .local)
    }

    @Test(arguments: bothRoles)
    func messagesBeyondTheCreditDetachTheLink(role: ConnectionHandler.Role) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            for id in 0..<UInt32(20) {
                try await adversary.send(.transfer(handle: 0, id: id, tag: [UInt8(id)], payload: payload(1_000)))
            }
            try await self.expectDetach(.linkTransferLimitExceeded, "without credit", receivers[0], adversary)
            // The receiver holds no more messages than its window, and the excess messages have left Proton.
            #expect(receivers[0].bufferedMessages <= 4)
            let snapshot = try await connection.snapshot()
            #expect(snapshot.sessions.map(\.incoming.used) == [0])
            try await self.expectAlive(receivers[1], handle: 1, id: 20, adversary)
        }
    }

    @Test(arguments: bothRoles)
    func transfersBeyondTheWindowEndTheSession(role: ConnectionHandler.Role) async throws {
        let settings = AMQPSession.Configuration(incomingCapacity: 131_072)
        try await withReceivers(role, 1, .init(window: .messages(1_000)), session: settings) {
            receivers,
            connection,
            adversary in
            // The window holds two frames, and no task reads them. All frames arrive in one read, without an answer in
            // between.
            var bytes = ByteBuffer()
            for id in 0..<UInt32(4) {
                var frame = try Frame.transfer(handle: 0, id: id, tag: [UInt8(id)], payload: payload(60_000)).encoded()
                bytes.writeBuffer(&frame)
            }
            try await adversary.send(bytes)
            let end = try await adversary.error(in: .end)
            #expect(end?.condition == .sessionWindowViolation && end?.text.contains("incoming window") == true)
            let error = try #require(receivers[0].session.error)
            #expect(error.scope == .session && error.condition == .sessionWindowViolation && error.origin == .local)
            #expect(receivers[0].error?.condition == .sessionWindowViolation)
            #expect(connection.error == nil)
            // The connection can still open another session.
            try await adversary.send(Frame(.end, []))
            let begins = try await adversary.frames(.begin).count
            let other = begin { try await connection.openSession() }
            await adversary.peer.settle()
            let channel = try #require(try await adversary.frames(.begin).dropFirst(begins).last).channel
            try await adversary.send(.begin(channel: 5, answering: channel))
            #expect(try await other.value.error == nil)
        }
    }

    /// The peer ignores the end of the session. The library accepts one more window, and then closes the connection.
    @Test(arguments: bothRoles)
    func aPeerThatIgnoresTheEndLosesTheConnection(role: ConnectionHandler.Role) async throws {
        let settings = AMQPSession.Configuration(incomingCapacity: 131_072)
        try await withReceivers(role, 1, .init(window: .messages(1_000)), session: settings) {
            receivers,
            connection,
            adversary in
            for id in 0..<UInt32(100) where connection.error == nil {
                let transfer = Frame.transfer(handle: 0, id: id, tag: [1], payload: payload(60_000))
                try await adversary.send([transfer, transfer])
            }
            let isEnded = receivers[0].session.error?.condition == .sessionWindowViolation
            #expect(isEnded || connection.error != nil)
            #expect(connection.error != nil)
            #expect(try await adversary.isCut)
        }
    }

    @Test(arguments: bothRoles, [false, true])
    func anOversizedMessageDetachesTheLink(role: ConnectionHandler.Role, acrossFrames: Bool) async throws {
        var settings = AMQPReceiver.Configuration(window: .messages(4))
        settings.maxMessageSize = .bytes(10_000)
        try await withReceivers(role, 2, settings) { receivers, connection, adversary in
            if acrossFrames {
                for part in 0..<5 {
                    let isLast = part == 4
                    try await adversary.send(
                        .transfer(handle: 0, id: 0, tag: [1], more: !isLast, payload: payload(4_000))
                    )
                }
            } else {
                try await adversary.send(.transfer(handle: 0, id: 0, tag: [1], payload: payload(10_001)))
            }
            try await self.expectDetach(.linkMessageSizeExceeded, "10000 bytes", receivers[0], adversary)
            let snapshot = try await connection.snapshot()
            #expect(snapshot.sessions.map(\.incoming.used) == [0])
            try await self.expectAlive(receivers[1], handle: 1, id: 1, adversary)
        }
    }

    /// A message without an end: the size limit bounds its bytes, and frames without bytes use no memory.
    @Test(arguments: bothRoles, [0, 4_000])
    func aMessageWithoutAnEndIsBounded(role: ConnectionHandler.Role, bytes: Int) async throws {
        var settings = AMQPReceiver.Configuration(window: .messages(4))
        settings.maxMessageSize = .bytes(100_000)
        try await withReceivers(role, 2, settings) { receivers, connection, adversary in
            let part = Frame.transfer(handle: 0, id: 0, tag: [1], more: true, payload: payload(bytes))
            for _ in 0..<100 { try await adversary.send(Array(repeating: part, count: 10)) }
            let held = try await connection.snapshot().sessions.map(\.incoming)
            #expect(held.allSatisfy { $0.used == 0 && $0.peak <= 200_000 }, "\(held)")
            if bytes > 0 {
                try await self.expectDetach(.linkMessageSizeExceeded, "100000 bytes", receivers[0], adversary)
            } else {
                #expect(receivers[0].error == nil)
                try await adversary.send(.transfer(handle: 0, id: 0, aborted: true))
            }
            try await self.expectAlive(receivers[1], handle: 1, id: 1, adversary)
        }
    }

    /// Settled messages at full speed: credit bounds them like all others.
    @Test(arguments: bothRoles)
    func creditBoundsSettledMessages(role: ConnectionHandler.Role) async throws {
        try await withReceivers(role) { receivers, _, adversary in
            for id in 0..<UInt32(100) {
                try await adversary.send(
                    .transfer(handle: 0, id: id, tag: [UInt8(id)], settled: true, payload: payload(1_000))
                )
            }
            try await self.expectDetach(.linkTransferLimitExceeded, "without credit", receivers[0], adversary)
            #expect(receivers[0].bufferedMessages <= 4)
            try await self.expectAlive(receivers[1], handle: 1, id: 100, adversary)
        }
    }

    static let outOfOrder: [HostileBytes] = [
        HostileBytes(
            "an id out of order",
            [.transfer(handle: 0, id: 5, tag: [2])],
            "amqp:session:invalid-field",
            "expected"
        ),
        HostileBytes(
            "another id in the middle of a message",
            [.transfer(handle: 0, id: 1, tag: [2], more: true), .transfer(handle: 0, id: 2, more: true)],
            .invalidField,
            "invalid delivery-id"
        ),
        HostileBytes(
            "settled, and then not",
            [
                .transfer(handle: 0, id: 1, tag: [2], settled: true, more: true),
                .transfer(handle: 0, id: 1, settled: false, more: true),
            ],
            .invalidField,
            "settled to unsettled"
        ),
        HostileBytes(
            "several transfers without an id",
            [.transfer(handle: 0, id: nil, tag: [2], more: true)],
            .invalidField,
            "without a delivery-id"
        ),
    ]

    @Test(arguments: bothRoles, Self.outOfOrder)
    func transfersOutOfOrder(role: ConnectionHandler.Role, hostile: HostileBytes) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            try await adversary.send(.transfer(handle: 0, id: 0, tag: [1], payload: payload(3)))
            try await adversary.send(ByteBuffer(bytes: hostile.bytes))
            try await adversary.expectClose(hostile.condition, hostile.text, connection)
            #expect(receivers[1].error?.condition == hostile.condition)
        }
    }

    /// Transfers on a link that the library has not attached: there is no credit, so they are dropped.
    @Test func transfersBeforeTheAttachAreDropped() async throws {
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin(), .attach("in", handle: 0, isReceiver: false))
            guard case .session(let session)? = try await connection.incoming.makeAsyncIterator().next(isolation: nil)
            else { throw Unexpected(what: "no session") }
            try await session.accept()
            for id in 0..<UInt32(500) {
                try await adversary.send(.transfer(handle: 0, id: id, tag: [1], payload: payload(1_000)))
            }
            let receiver = try await connection.acceptReceiver(.init(window: .messages(4)))
            await adversary.peer.settle()
            #expect(receiver.bufferedMessages == 0)
            #expect(try await connection.snapshot().sessions.map(\.incoming.used) == [0])
            try await self.expectAlive(receiver, handle: 0, id: 500, adversary)
        }
    }
}
