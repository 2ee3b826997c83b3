// SPDX-License-Identifier: Apache-2.0

// Sends one message and prints its outcome.

import Foundation
import QpidProton

do {
    try await AMQPConnection.withConnection(to: "amqp://localhost") { connection in
        let session = try await connection.openSession()
        let sender = try await session.openSender(to: "greetings")
        let outcome = try await sender.send(AMQPMessage(body: "hello"))
        print(outcome)
    }
} catch {
    print("not sent: \(error)")
    exit(1)
}
