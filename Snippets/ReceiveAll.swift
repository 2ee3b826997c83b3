// SPDX-License-Identifier: Apache-2.0

// Prints and accepts each message of a queue.

import Foundation
import QpidProton

do {
    try await AMQPConnection.withConnection(to: "amqp://localhost") { connection in
        let session = try await connection.openSession()
        let receiver = try await session.openReceiver(from: "greetings")
        for try await delivery in receiver {
            print(try delivery.decodeMessage().bodyString ?? "no text")
            fflush(nil)
            delivery.accept()
        }
    }
} catch {
    print("stopped: \(error)")
    exit(1)
}
