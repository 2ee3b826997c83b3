// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The ownership and lifetime of memory, and the order of the steps.
@Suite(.deadline)
struct LifetimeRows {
    /// A late decision never reaches the next message, for which Proton reuses the memory of the delivery.
    @Test("Own ids distinguish deliveries", .tags(.p11, .p47))
    func p11_ownIDsDistinguishDeliveries() async throws {
        try await withSession({ .keepingOutcomes }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(2))
            var old: [AMQPDelivery] = []
            for round in 0..<10 {
                try await peer.run { _ = $0.send(payload(round), on: $0.links[0]) }
                let delivery = try #require(try await receiver.next())
                for delivery in old { delivery.reject() }
                await peer.settle()
                #expect(try await peer.run { $0.outcomes.count } == round)
                delivery.accept()
                await peer.settle()
                old.append(delivery)
            }
            #expect(try await peer.run { $0.outcomes } == Array(repeating: UInt64(PN_ACCEPTED), count: 10))
        }
    }

    /// Proton never holds more of an incoming message than one read, nor more of an outgoing one than a few slices.
    @Test("Proton's buffers stay small", .tags(.p30))
    func p30_protonsBuffersStaySmall() async throws {
        let large = AMQPSession.Configuration(sendLimit: .init(high: .mebibytes(8)))
        try await withSession(session: large, { PeerScript(credit: 100) }) { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            let sender = try await session.openSender(to: "q")
            for _ in 0..<5 {
                try await peer.run { _ = $0.send(payload(200_000), on: $0.links[0], isLast: false) }
                #expect(try await peer.run { $0.incomingBytes } == 0)
            }
            #expect(receiver.bufferedMessages == 0)
            try await peer.run { _ = $0.send(payload(1), on: $0.links[0]) }
            #expect(receiver.bufferedBytes == 1_000_001)
            try await peer.run { $0.toPeer.allowance = 0 }
            let transfers = try (0..<20).map { _ in try sender.trySend(encoded: payload(200_000)) }
            for _ in 0..<100 where session.outgoingBytes > 0 {
                try #require(try await peer.run { $0.heldBytes } <= 262_144)
                try await peer.run { $0.toPeer.allowance = 100_000 }
            }
            try await peer.run { $0.toPeer.allowance = nil }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
        }
    }

    /// All data sections and the footer are sent and received, without any section that the message lacks.
    @Test("Every section is kept", .tags(.p33))
    func p33_everySectionIsKept() async throws {
        try await withSession { session, peer in
            var message = AMQPMessage(body: payload(3))
            message.body = .data([payload(3), payload(0), payload(4)])
            message.footer = [.symbol("x-sum"): .int(7)]
            let sender = try await session.openSender(to: "q")
            try await sender.send(message)
            let sent = try await peer.run { $0.received[0].bytes }
            // The first section is the first data section, without header or properties before it.
            #expect(Array(sent.readableBytesView.prefix(3)) == [0x00, 0x53, 0x75])
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { _ = $0.send(sent, on: $0.links[1]) }
            let back = try #require(try await receiver.next()).decodeMessage()
            #expect(back.body == message.body)
            #expect(back.footer == message.footer)
        }
    }

    /// The peer's announced properties outlive the connection, and may be absent.
    @Test("The peer's properties are copied")
    func thePeersPropertiesAreCopied() async throws {
        for properties: AMQPMap in [[:], [.symbol("product"): "test", .symbol("n"): .list([.int(1)])]] {
            var kept: AMQPConnection?
            try await withPeer({
                var script = PeerScript()
                script.beforeOpen = { try? ProtonData.set(pn_connection_properties($0.connection), map: properties) }
                return script
            }) { connection, peer in
                kept = connection
                try await peer.loseConnection()
            }
            // The handler is freed, and Proton with it.
            #expect(kept?.peer.properties == properties)
            #expect(kept?.peer.containerID == "peer")
        }
    }

    /// The `open` contains the settings. A later error does not replace the error that ended the transport.
    @Test("Settings come before the bind, and conditions before the closes")
    func theOrderOfTheSteps() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.idleTimeout = .seconds(20)
        configuration.maxFrameSize = 4_096
        configuration.channelMax = 7
        configuration.properties = [.symbol("a"): .int(1)]
        try await withPeer(configuration: configuration) { connection, peer in
            let open = try await peer.framesOfLibrary()[0]
            #expect(open.field(2) == .uint(4_096) && open.field(3) == .ushort(7) && open.field(4) == .uint(10_000))
            #expect(open.field(9).mapValue == configuration.properties)
            try await peer.run { $0.inject(ByteBuffer(bytes: [0, 0, 0, 3, 2, 0, 0, 0])) }
            try await peer.loseConnection()
            #expect(connection.error?.condition == .connectionFramingError)
            await expectError(.connectionFramingError) { try await connection.close().check() }
            let close = try #require(try await peer.framesOfLibrary().last)
            #expect(close.code == .close)
            #expect(close.field(0).description.contains("amqp:connection:framing-error"))
        }
    }

    /// Settling the arriving message advances the link once, so the next message is not skipped.
    @Test("No message is skipped after a settled one")
    func noMessageIsSkipped() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(100))
            try await peer.run { $0.toLibrary.allowance = 0 }
            try await peer.run { peer in
                for size in 0..<30 {
                    switch size % 3 {
                    case 0: peer.send(payload(size), on: peer.links[0], settled: true)
                    case 1: peer.send(payload(size), on: peer.links[0])
                    default:
                        // Here a part of the message was sent before.
                        let delivery = peer.send(payload(size), on: peer.links[0], isLast: false)
                        _ = pn_connection_driver_write_buffer(peer.driver)
                        if let delivery { pn_delivery_abort(delivery) }
                        peer.isBetweenMessages = true
                    }
                }
            }
            try await peer.run { $0.toLibrary.allowance = nil }
            let deliveries = try await receiver.nextBatch(max: 100)
            #expect(deliveries.map(\.payload.readableBytes) == (0..<30).filter { $0 % 3 != 2 })
            #expect(deliveries.map(\.isSettled) == (0..<20).map { $0 % 2 == 0 })
        }
    }

    /// The library copies the objects of an event. A delivery stays complete after its link and its connection are
    /// freed.
    @Test("The objects of an event are copied")
    func objectsOfAnEventAreCopied() async throws {
        var kept: [AMQPDelivery] = []
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            try await peer.run { peer in
                for size in [0, 10, 200_000] { peer.send(payload(size), on: peer.links[0]) }
            }
            for _ in 0..<3 { kept.append(try #require(try await receiver.next())) }
            try await peer.run { peer in
                for size in [5, 6, 7] { peer.send(payload(size, fill: 0x42), on: peer.links[0]) }
            }
            try await session.connection.close().check()
        }
        #expect(kept.map(\.payload) == [payload(0), payload(10), payload(200_000)])
        #expect(kept.map(\.tag) == (1...3).map { [0, 0, 0, 0, 0, 0, 0, $0] })
        for delivery in kept { delivery.accept() }
    }
}
