// SPDX-License-Identifier: Apache-2.0

// A peer in the process of a test.

import QpidProton

// snippet.peer
/// Accepts each message and keeps it; closes its connections on command.
actor TestPeer {
    private(set) var messages: [AMQPMessage] = []
    private var connections: [AMQPConnection] = []
    private var answer = AMQPOutcome.accepted

    /// Chooses the outcome of the messages from now on.
    func answer(_ outcome: AMQPOutcome) { self.answer = outcome }

    /// Closes every connection with an error, as a broker does that stops.
    func cut() async {
        let error = AMQPError(scope: .connection, condition: .connectionForced, detail: "the test cuts the connection")
        for connection in self.connections { await connection.close(error) }
    }

    fileprivate func add(_ connection: AMQPConnection) { self.connections.append(connection) }

    fileprivate func settle(_ delivery: AMQPDelivery) throws {
        self.messages.append(try delivery.decodeMessage())
        switch self.answer {
        case .accepted: delivery.accept()
        case .rejected(let error): delivery.reject(error)
        default: delivery.release()
        }
    }
}

/// Runs `body` with the URL of a peer that listens on a free port of this machine.
func withTestPeer(_ body: (String, TestPeer) async throws -> Void) async throws {
    let peer = TestPeer()
    try await AMQPListener.withListener(host: "127.0.0.1", port: 0) { listener in
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask {
                try await withThrowingDiscardingTaskGroup { connections in
                    for try await connection in listener {
                        await peer.add(connection)
                        connections.addTask { try? await serve(connection, peer) }
                    }
                }
            }
            try await body("amqp://127.0.0.1:\(listener.port)", peer)
            group.cancelAll()
        }
    }
}

private func serve(_ connection: AMQPConnection, _ peer: TestPeer) async throws {
    try await withThrowingDiscardingTaskGroup { group in
        for try await request in connection.incoming {
            switch request {
            case .session(let session): _ = try await session.accept()
            case .sender(let link):
                link.refuse(AMQPError(scope: .link, condition: .notImplemented, detail: "no queues"))
            case .receiver(let link):
                group.addTask { for try await delivery in try await link.accept() { try await peer.settle(delivery) } }
            }
        }
    }
}
// snippet.end

// snippet.test
func ordersSurviveALostConnection() async throws {
    try await withTestPeer { url, peer in
        let client = AMQPClient(url: url)
        let orders = try await client.sender(to: "orders")
        try await orders.send(AMQPMessage(body: "first"))
        await peer.cut()
        try await orders.send(AMQPMessage(body: "second"))
        await client.close(within: .seconds(5))
        let texts = await peer.messages.map(\.bodyString)
        precondition(texts == ["first", "second"])
    }
}
// snippet.end

try await ordersSurviveALostConnection()
print("passed")
