// SPDX-License-Identifier: Apache-2.0

// A service that stops in order on SIGTERM.

import Dispatch
import Foundation
import QpidProton

// snippet.signal
/// Suspends until SIGINT or SIGTERM arrives, or the task is cancelled.
func untilStopped() async {
    let (signals, continuation) = AsyncStream.makeStream(of: Int32.self)
    let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler { continuation.yield(number) }
        source.resume()
        return source
    }
    for await _ in signals { break }
    withExtendedLifetime(sources) {}
}
// snippet.end

// snippet.handler
func handle(_ orders: AMQPReceiver, _ invoices: AMQPSender) async throws {
    // The loop ends when this side closes the receiver, its session or its connection.
    for try await order in orders {
        try await invoices.send(invoice(for: order.decodeMessage()))
        order.accept()
    }
}
// snippet.end

// snippet.service
func serve(_ url: String) async throws {
    let connection = try await AMQPConnection.connect(to: url)
    let session = try await connection.openSession()
    let orders = try await session.openReceiver(from: "orders")
    let invoices = try await session.openSender(to: "invoices")
    try await withThrowingDiscardingTaskGroup { group in
        for _ in 0..<8 {
            group.addTask { try await handle(orders, invoices) }
        }
        group.addTask {
            await untilStopped()
            // Less than the time after which the supervisor kills the process.
            let result = await connection.close(within: .seconds(25))
            if !result.isComplete { print(result) }
        }
    }
}
// snippet.end

func keepUnsent(_ sender: AMQPSender, _ orders: [AMQPTracker: String], _ store: (String, Bool) -> Void) async {
    // snippet.again
    let result = await sender.close(within: .seconds(25))
    for link in result.unfinished {
        // The peer has none of these: sending them again makes no duplicate.
        for message in link.notSent {
            if let order = orders[message.tracker] { store(order, false) }
        }
        // The peer may have these: sent again, they may come twice.
        for tracker in link.inDoubt {
            if let order = orders[tracker] { store(order, true) }
        }
    }
    // snippet.end
}

private func invoice(for order: AMQPMessage) -> AMQPMessage { AMQPMessage(body: order.bodyString ?? "") }
