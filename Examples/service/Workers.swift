// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import Logging
    import NIOCore
    import QpidProton
    import ServiceLifecycle

    /// Processes the jobs: requests the price of each, and sends the result.
    struct Workers: Service {
        let client: AMQPClient
        let settings: Settings
        let prices: PriceRequests
        let logger: Logger

        func run() async throws {
            let (client, settings, prices) = (self.client, self.settings, self.prices)
            let address = settings.address(.done)
            guard let done = try await untilShutdown({ try await client.sender(to: address) }) else { return }
            var configuration = AMQPConsumer.Configuration(source: settings.address(.jobs))
            configuration.concurrency = settings.concurrency
            // A long outage of the broker is not a failure of a job.
            configuration.attempts = nil
            let consumer = AMQPConsumer(client, configuration) { job in
                var message = try job.decodeMessage()
                let order = message.bodyString ?? message.bodyBytes.map { String(buffer: $0) } ?? ""
                let price = try await prices.price(of: order)
                try await Task.sleep(for: settings.work)
                message.body = .value(.string("\(order) at \(price)"))
                let outcome = try await done.send(message)
                guard outcome == .accepted else {
                    throw AMQPError(condition: .internalError, detail: "the result is \(outcome)")
                }
            }
            try await consumer.run()
            let result = consumer.result
            let doubts = result.settlementsInDoubt + result.settlementsNotWritten + result.stale
            self.logger.info(
                "the workers have stopped",
                metadata: ["jobs": "\(result)", "settlements_in_doubt": "\(doubts)"]
            )
        }
    }
#endif
