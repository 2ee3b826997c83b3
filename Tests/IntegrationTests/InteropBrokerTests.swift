// SPDX-License-Identifier: Apache-2.0

import Testing

/// Every AMQP type and every message section that `pn_message` carries, through the example brokers of Proton.
@Suite(.serialized, .timeLimit(.minutes(4)))
struct InteropBrokerTests {
    /// The C broker keeps only the last piece of a message, so its messages must fit into one frame.
    private static func interop(_ peer: ForeignPeer, through broker: ProtonExample) throws -> Interop {
        let lines = try CanonicalText.catalogue("catalogue")
        return Interop(peer, lines: broker == .broker ? lines.filter { $0.utf8.count < 2_000 } : lines)
    }

    @Test(arguments: [ProtonExample.broker, .cppBroker], [ForeignPeer.cpp, .python])
    func theLibrarySendsAndThePeerReceives(through broker: ProtonExample, _ peer: ForeignPeer) async throws {
        let interop = try Self.interop(peer, through: broker)
        #expect(interop.lines.count > 190)
        try await broker.withBroker { _, port in try await interop.sendThroughBroker(at: "amqp://127.0.0.1:\(port)") }
    }

    @Test(arguments: [ProtonExample.broker, .cppBroker], [ForeignPeer.cpp, .python])
    func theySendAndWeReceive(through broker: ProtonExample, _ peer: ForeignPeer) async throws {
        let interop = try Self.interop(peer, through: broker)
        try await broker.withBroker { _, port in try await interop.receiveThroughBroker(at: "amqp://127.0.0.1:\(port)")
        }
    }
}
