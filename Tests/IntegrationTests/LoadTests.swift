// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport
import Testing

/// High load: many messages, bytes, connections, sessions and links.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct LoadTests {
    private func receive(_ count: Int, _ receiver: AMQPReceiver) async throws -> [AMQPMessage] {
        try await within("\(count) messages", limit: .seconds(120)) {
            var messages: [AMQPMessage] = []
            while messages.count < count, let delivery = try await receiver.next() {
                messages.append(try delivery.decodeMessage())
                delivery.accept()
            }
            return messages
        }
    }

    @Test func tenThousandMessagesOverTLSBothWays() async throws {
        let files = try TestCertificates.files()
        var listening = AMQPListener.Configuration()
        listening.tls = AMQPServerTLS(identity: files.server)
        var connecting = AMQPConnection.Configuration()
        connecting.tls.trustRoots = files.authority
        let messages = (0..<10_000).map { AMQPMessage(body: "message \($0)") }
        try await TestListener.with(listening, offering: messages) { listener in
            try await AMQPConnection.withConnection(to: listener.tlsURL, configuration: connecting) { connection in
                let session = try await connection.openSession()
                let sender = try await session.openSender(to: "there")
                let outcomes = try await within("the outcomes") { await sender.send(contentsOf: messages) }
                #expect(outcomes.allSatisfy { $0 == .success(.accepted) })
                let receiver = try await session.openReceiver(from: "back")
                let received = try await self.receive(messages.count, receiver)
                #expect(received == messages)
            }
            #expect(try listener.deliveries.map { try $0.decodeMessage() } == messages)
        }
    }

    @Test func bigMessagesBothWays() async throws {
        // The body has 32 MiB, and no two of its blocks are equal.
        var bytes = ByteBuffer()
        let noise = (0..<65_528).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 5) }
        for index in 0..<UInt64(512) {
            bytes.writeInteger(index)
            bytes.writeBytes(noise)
        }
        let message = AMQPMessage(body: bytes)
        #expect(bytes.readableBytes == 32 << 20)
        try await TestListener.with(offering: [message, AMQPMessage(body: "small")]) { listener in
            try await AMQPConnection.withConnection(to: listener.url) { connection in
                let session = try await connection.openSession()
                let sender = try await session.openSender(to: "there")
                let outcome = try await within("the outcome") { try await sender.send(message) }
                #expect(outcome == .accepted)
                let arrived = try #require(listener.deliveries.first).decodeMessage()
                #expect(arrived.bodyBytes == bytes)
                let received = try await self.receive(2, try await session.openReceiver(from: "back"))
                #expect(received[0].bodyBytes == bytes && received[1].bodyString == "small")
            }
        }
    }

    @Test func twoHundredConnections() async throws {
        try await TestListener.with { listener in
            try await withThrowingTaskGroup(of: AMQPConnection.self) { group in
                for index in 0..<200 {
                    group.addTask {
                        let connection = try await AMQPConnection.connect(to: listener.url)
                        let sender = try await connection.openSession().openSender(to: "queue")
                        #expect(try await sender.send(AMQPMessage(body: "from \(index)")) == .accepted)
                        return connection
                    }
                }
                var connections: [AMQPConnection] = []
                for try await connection in group { connections.append(connection) }
                // All connections are open at the same time.
                #expect(connections.allSatisfy { $0.error == nil } && listener.connections.count == 200)
                for connection in connections { try await connection.close().check() }
            }
            let bodies = try Set(listener.deliveries.map { try $0.decodeMessage().bodyString })
            #expect(bodies == Set((0..<200).map { "from \($0)" }))
        }
    }

    @Test func oneHundredSessionsAndTwoHundredLinks() async throws {
        try await TestListener.with { listener in
            try await AMQPConnection.withConnection(to: listener.url) { connection in
                var senders: [AMQPSender] = []
                for index in 0..<100 {
                    let session = try await connection.openSession(.init(incomingCapacity: .mebibytes(1)))
                    senders.append(try await session.openSender(to: "session \(index)"))
                }
                let session = try await connection.openSession()
                for index in 0..<200 { senders.append(try await session.openSender(to: "link \(index)")) }
                var transfers: [AMQPTracker] = []
                for round in 0..<3 {
                    for (index, sender) in senders.enumerated() {
                        transfers.append(try await sender.enqueue(AMQPMessage(body: "\(index) \(round)")))
                    }
                }
                for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            }
            let bodies = try Set(listener.deliveries.map { try $0.decodeMessage().bodyString })
            #expect(bodies.count == 900 && listener.deliveries.count == 900)
        }
    }

    @MainActor
    @Test func sendingFromTheMainActor() async throws {
        try await TestListener.with { listener in
            try await AMQPConnection.withConnection(to: listener.url) { connection in
                let sender = try await connection.openSession().openSender(to: "queue")
                var transfers: [AMQPTracker] = []
                for index in 0..<1_000 {
                    MainActor.assertIsolated()
                    transfers.append(try await sender.enqueue(AMQPMessage(body: "\(index)")))
                }
                for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            }
            #expect(try listener.deliveries.map { try $0.decodeMessage().bodyString } == (0..<1_000).map { "\($0)" })
        }
    }
}
