// SPDX-License-Identifier: Apache-2.0

// Consumers: handlers for the messages of a node.

import QpidProton

// snippet.consume
func work(_ client: AMQPClient) async throws {
    let result = try await client.consume(from: "jobs", concurrency: 16, attempts: 3) { delivery in
        let job = try delivery.decodeMessage()
        try await run(job)
    }
    print(result)  // 5021 messages: 5014 accepted, 4 failed, 2 rejected, 1 released; 5020 calls: 6 threw
}
// snippet.end

// snippet.settings
func makeConsumer(_ client: AMQPClient) -> AMQPConsumer {
    var configuration = AMQPConsumer.Configuration(source: "jobs")
    configuration.concurrency = 32
    configuration.timeout = .seconds(60)
    configuration.order = .byGroupID
    return AMQPConsumer(client, configuration) { delivery in
        try await run(try delivery.decodeMessage())
    }
}
// snippet.end

// snippet.decide
func handle(_ delivery: AMQPConsumer.Delivery) async throws {
    let job = try delivery.decodeMessage()
    guard job.properties.subject == "invoice" else {
        delivery.reject(AMQPError(condition: .notImplemented, detail: "only invoices"))
        return
    }
    try await run(job)
}
// snippet.end

// snippet.stop
func serve(_ consumer: AMQPConsumer) async throws {
    try await withThrowingDiscardingTaskGroup { group in
        group.addTask { try await consumer.run() }
        await untilStopped()
        let result = await consumer.stop(within: .seconds(25))
        if result.unfinished > 0 { print("\(result.unfinished) handlers did not return") }
    }
}
// snippet.end

func run(_ job: AMQPMessage) async throws {}
func untilStopped() async {}
