// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

/// The timeout of the management limits each whole call.
@Suite(.timeLimit(.minutes(2)))
struct ManagementLimitTests {
    /// The first of two requests uses most of the time.
    @Test func bothRequestsOfOneCallShareTheTimeout() async throws {
        try await FakeManagement.with { request in
            guard request.method == "GET" else { return .ignore }
            let found: AMQPValue = [["arguments": ["x": .int(1)], "location": "/bindings/5"]]
            return .answer(status: "200", body: found, after: .seconds(5))
        } _: { fake, connection in
            let management = try await RabbitMQManagement.open(on: connection, timeout: .seconds(15))
            let start = ContinuousClock.now
            let error = try await failure(of: "the unbinding") {
                try await management.unbind(RabbitMQBinding(exchange: "e", to: .queue("q"), arguments: ["x": 1]))
            }
            #expect(error.condition == .timeout && error.detail.contains("DELETE"), "\(error)")
            // With a timeout for each request, the call would last 20 seconds. A busy machine has 10 for the first
            // answer.
            #expect(ContinuousClock.now - start < .seconds(19))
            try await management.close().check()
        }
    }

    /// The peer never begins the session, so each step of the opening would wait.
    @Test func theWholeOpeningHasOneLimit() async throws {
        var configuration = AMQPListener.Configuration()
        configuration.connection.offeredCapabilities = ["LINK_PAIR_V1_0"]
        let listener = try await AMQPListener.bind(port: 0, configuration: configuration)
        var connecting = AMQPConnection.Configuration()
        connecting.operationTimeout = .milliseconds(300)
        let url = "amqp://127.0.0.1:\(listener.port)"
        let connection = try await AMQPConnection.connect(to: url, configuration: connecting)
        let start = ContinuousClock.now
        let error = try await failure(of: "the opening") {
            _ = try await RabbitMQManagement.open(on: connection, timeout: .seconds(60))
        }
        #expect(error.condition == .timeout)
        #expect(ContinuousClock.now - start < .seconds(10))
        await connection.close(within: .seconds(1))
        await listener.close()
    }
}
