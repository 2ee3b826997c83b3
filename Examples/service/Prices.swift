// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle && Configuration
    import QpidProton
    import ServiceLifecycle

    /// Requests prices: each request has a number and the address for its reply, and the reply has that number.
    actor PriceRequests: Service {
        private static let limit = Duration.seconds(5)

        private let client: AMQPClient
        private let settings: Settings
        private var number: UInt64 = 0
        private var waiting: [UInt64: AsyncStream<AMQPMessage>.Continuation] = [:]
        private var sender: Task<AMQPClient.Sender, any Error>?

        init(_ client: AMQPClient, _ settings: Settings) {
            self.client = client
            self.settings = settings
        }

        /// Receives replies until the shutdown.
        func run() async throws {
            let (client, address) = (self.client, self.settings.address(.replies))
            guard let replies = try await untilShutdown({ try await client.receiver(from: address) }) else { return }
            try await withGracefulShutdownHandler {
                for try await delivery in replies {
                    let reply = try? delivery.decodeMessage()
                    delivery.accept()
                    guard let reply, case .ulong(let number)? = reply.properties.correlationID else { continue }
                    self.waiting[number]?.yield(reply)
                }
            } onGracefulShutdown: {
                Task { await replies.close() }
            }
        }

        /// Returns the price of an order. A request without a reply fails after a limit, and so does its job. The peer
        /// then sends the job again.
        func price(of order: String) async throws -> String {
            let sender = try await self.openSender()
            self.number += 1
            let number = self.number
            let (replies, reply) = AsyncStream.makeStream(of: AMQPMessage.self)
            self.waiting[number] = reply
            defer { self.waiting[number] = nil }
            let timer = Task {
                try await Task.sleep(for: Self.limit)
                reply.finish()
            }
            defer { timer.cancel() }
            var request = AMQPMessage(body: order)
            request.header.timeToLive = Self.limit
            request.properties.messageID = .ulong(number)
            request.properties.replyTo = self.settings.address(.replies)
            try await sender.enqueue(request)
            for await reply in replies { return reply.bodyString ?? "" }
            try Task.checkCancellation()
            throw AMQPError(condition: .timeout, detail: "no price within \(Self.limit)")
        }

        private func openSender() async throws -> AMQPClient.Sender {
            let (client, address) = (self.client, self.settings.address(.prices))
            let opening = self.sender ?? Task { try await client.sender(to: address) }
            self.sender = opening
            return try await opening.value
        }
    }

    /// Answers price requests, each at the address that the request names.
    struct PriceDesk: Service {
        let client: AMQPClient
        let settings: Settings

        func run() async throws {
            let client = self.client
            guard let replies = try await untilShutdown({ try await client.sender(to: nil) }) else { return }
            var configuration = AMQPConsumer.Configuration(source: self.settings.address(.prices))
            configuration.concurrency = 64
            let consumer = AMQPConsumer(client, configuration) { request in
                let properties = try request.decodeMessage().properties
                var reply = AMQPMessage(body: "3.20")
                reply.properties.to = properties.replyTo
                reply.properties.correlationID = properties.messageID
                try await replies.send(reply)
            }
            try await consumer.run()
        }
    }
#endif
