// SPDX-License-Identifier: Apache-2.0

import QpidProton
import TestSupport
import Testing

/// Inspecting a connection from outside does not touch the state that its event loop changes.
@Suite struct MirrorTests {
    @Test func handlesCanBeDumpedWhileInUse() async throws {
        try await TestListener.with { listener in
            let connection = try await AMQPConnection.connect(to: listener.url)
            let session = try await connection.openSession()
            let sender = try await session.openSender(to: "queue")
            var transfers: [AMQPTracker] = []
            var text = ""
            for number in 0..<2_000 {
                transfers.append(try await sender.enqueue(AMQPMessage(body: "\(number)")))
                guard number.isMultiple(of: 20) else { continue }
                for value: Any in [connection, session, sender, transfers[number], listener.listener] {
                    dump(value, to: &text)
                }
            }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            dump(transfers[0], to: &text)
            for delivery in listener.deliveries.prefix(10) { dump(delivery, to: &text) }
            for word in ["connection to", "session with", "sender link-", "\"queue\"", "accepted", "bytes"] {
                #expect(text.contains(word), "\(word)")
            }
            #expect(!text.contains("Outbox"))
            try await connection.close().check()
        }
    }
}
