// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// A broker whose process is stopped: every limit covers the whole call.
@Suite(.timeLimit(.minutes(2)))
struct FrozenPeerTests {
    private static let configuration: AMQPConnection.Configuration = {
        var configuration = AMQPConnection.Configuration()
        configuration.openTimeout = .seconds(1)
        // A call that also waits for the operation timeout exceeds its limit by far, even on a busy machine.
        configuration.operationTimeout = .seconds(40)
        return configuration
    }()

    /// Expects that a call ends at its limit, with slack for a busy machine.
    private func expect<Value: Sendable>(
        _ limit: Duration,
        _ what: String,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let start = ContinuousClock.now
        let value = try await within(what, limit: .seconds(60), body)
        let time = ContinuousClock.now - start
        #expect(time < limit + .seconds(20), "\(what) took \(time)", sourceLocation: sourceLocation)
        return value
    }

    @Test func everyLimitCoversTheWholeCall() async throws {
        try await withBroker { broker, url in
            let connection = try await AMQPConnection.connect(to: url, configuration: Self.configuration)
            let session = try await connection.openSession()
            let sender = try await session.openSender(to: "q")
            for number in 0..<6 { try await sender.send(AMQPMessage(body: "\(number)")) }
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            var deliveries: [AMQPDelivery] = []
            while deliveries.count < 6, let delivery = try await receiver.next() { deliveries.append(delivery) }
            broker.signal(SIGSTOP)
            defer { broker.signal(SIGCONT) }
            for delivery in deliveries.dropFirst(2) { delivery.accept() }
            for number in 0..<4 { try await sender.enqueue(AMQPMessage(body: "\(number)")) }
            async let left = self.expect(.seconds(2), "receiver.close(within:)") {
                await receiver.close(within: .seconds(2))
            }
            async let unfinished = self.expect(.seconds(2), "sender.close(within:)") {
                await sender.close(within: .seconds(2))
            }
            async let refused = self.expect(.seconds(1), "connect") {
                await Self.condition {
                    _ = try await AMQPConnection.connect(to: url, configuration: Self.configuration)
                }
            }
            // The application holds two messages, and the broker has not read the settlement of four.
            let received = try await left
            #expect(received.deliveriesNotSettled == 2 && received.error?.condition == .timeout, "\(received)")
            #expect(received.settlementsNotWritten + received.settlementsInDoubt == 4, "\(received)")
            let rest = try await unfinished
            #expect(rest.notSent + rest.inDoubt == 4)
            #expect(try await refused == .timeout)
            _ = try await self.expect(.seconds(2), "the close of the connection") {
                await connection.close(within: .seconds(2))
            }
            #expect(connection.error?.condition == .closed)
        }
    }

    @Test func aScopeCountsUnsentMessages() async throws {
        try await withBroker { broker, url in
            defer { broker.signal(SIGCONT) }
            let error = try await self.expect(.seconds(2), "the scope") { () -> AMQPError? in
                do {
                    try await AMQPConnection.withConnection(to: url, closingWithin: .seconds(1)) { connection in
                        let sender = try await connection.openSession().openSender(to: "q")
                        // After this outcome the sender has credit.
                        try await sender.send(AMQPMessage(body: "first"))
                        broker.signal(SIGSTOP)
                        for number in 0..<5 { try await sender.enqueue(AMQPMessage(body: "\(number)")) }
                    }
                    return nil
                } catch {
                    return error as? AMQPError
                }
            }
            #expect(error?.detail.contains("5 messages in doubt") == true, "\(error as Any)")
        }
    }

    private static func condition(_ body: () async throws -> Void) async -> AMQPCondition? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? AMQPError)?.condition
        }
    }
}
