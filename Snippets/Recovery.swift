// SPDX-License-Identifier: Apache-2.0

// A client that survives its broker.

import Configuration
import QpidProton

// snippet.service
func run(_ urls: [String], _ orders: AsyncStream<AMQPMessage>) async throws {
    let client = AMQPClient(urls: urls)
    let sender = try await client.sender(to: "orders")
    let jobs = try await client.receiver(from: "jobs")
    try await withThrowingDiscardingTaskGroup { group in
        group.addTask { try await client.run() }
        group.addTask { for await order in orders { try await sender.send(order) } }
        group.addTask { for try await job in jobs { job.accept() } }
        await untilStopped()
        await client.close(within: .seconds(25))
        group.cancelAll()
    }
}
// snippet.end

// snippet.settings
func makeClient(_ urls: [String], token: @escaping @Sendable () async throws -> String) -> AMQPClient {
    var configuration = AMQPClient.Configuration()
    configuration.recovery.giveUpAfter = .seconds(3_600)
    // Asked before each attempt.
    configuration.credentials = { .plain(username: "service", password: try await token()) }
    return AMQPClient(urls: urls, configuration: configuration)
}
// snippet.end

// snippet.reader
func makeClient() throws -> AMQPClient {
    // For example AMQP_URLS=amqps://a.example,amqps://b.example and AMQP_RECOVERY_GIVE_UP_AFTER=3600.
    try AMQPClient(reader: ConfigReader(provider: EnvironmentVariablesProvider()))
}
// snippet.end

// snippet.once
func openAudit(_ client: AMQPClient) async throws -> AMQPClient.Sender {
    var configuration = AMQPClient.Sender.Configuration(target: "audit")
    configuration.onLoss = .fail
    configuration.replayLimit = .mebibytes(4)
    return try await client.sender(configuration)
}
// snippet.end

// snippet.flag
func send(_ message: AMQPMessage, _ sender: AMQPClient.Sender) async throws {
    let tracker = try await sender.enqueue(message)
    let outcome = try await tracker.outcome()
    if tracker.attempts > 1 { print("\(outcome), and may have arrived twice") }
}
// snippet.end

// snippet.events
func watch(_ client: AMQPClient) async {
    for await event in client.events {
        switch event {
        case .lost(let error, let inDoubt, _): print("lost with \(inDoubt) messages in doubt: \(error)")
        case .recovered(_, let replayed, let time): print("open again after \(time), \(replayed) messages sent again")
        default: break
        }
    }
}
// snippet.end

// snippet.hook
func makePreparedClient(_ urls: [String]) -> AMQPClient {
    var configuration = AMQPClient.Configuration()
    configuration.onConnect = { connection, generation in
        print("connection \(generation) leads to \(connection.peer)")
        try await declareQueues(on: connection)
    }
    return AMQPClient(urls: urls, configuration: configuration)
}
// snippet.end

// snippet.hosts
func makeTrustingClient(_ urls: [String]) -> AMQPClient {
    var configuration = AMQPClient.Configuration()
    configuration.recovery.announcedHosts = .add
    return AMQPClient(urls: urls, configuration: configuration)
}
// snippet.end

func declareQueues(on connection: AMQPConnection) async throws {}
func untilStopped() async {}
