// SPDX-License-Identifier: Apache-2.0

// Pieces of the article "Sending".

import NIOCore
import QpidProton

func learnTheOutcome(_ sender: AMQPSender, _ message: AMQPMessage) async throws {
    // snippet.outcome
    switch try await sender.send(message) {
    case .accepted: print("the peer has taken responsibility for the message")
    case .rejected(let error): print("the message is invalid:", error?.detail ?? "no reason given")
    case .released, .modified: print("the peer gave the message back: send it again, or elsewhere")
    case .settled: print("sent settled: there is no outcome to report")
    }
    // snippet.end
}

func sendMany(_ sender: AMQPSender, _ messages: [AMQPMessage]) async throws {
    // snippet.enqueue
    var trackers: [AMQPTracker] = []
    for message in messages {
        // Suspends only while the send limit leaves no room.
        trackers.append(try await sender.enqueue(message))
    }
    for tracker in trackers {
        print(try await tracker.outcome())
    }
    // snippet.end
}

func sendOnTheLoop(_ connection: AMQPConnection, _ sender: AMQPSender, _ readings: [String]) async throws {
    // snippet.executor
    try await withTaskExecutorPreference(connection.taskExecutor) {
        for (number, reading) in readings.enumerated() {
            try await sender.enqueue(AMQPMessage(body: reading))
            if number.isMultiple(of: 64) { await Task.yield() }
        }
    }
    // snippet.end
}

func closeInTime(_ connection: AMQPConnection) async {
    // snippet.flush
    let result = await connection.close(within: .seconds(5))
    for link in result.unfinished { print(link) }
    if let error = result.error { print("the close was not orderly:", error) }
    // snippet.end
}

func watchMany(_ sender: AMQPSender, _ messages: AsyncStream<AMQPMessage>) async throws {
    // snippet.whenSettled
    for await message in messages {
        let tracker = try await sender.enqueue(message)
        tracker.whenSettled { result in
            // Runs on the connection's event loop: be short, and do not block.
            if case .failure(let error) = result { print(error) }
        }
    }
    // snippet.end
}

func sendOrDrop(_ sender: AMQPSender, _ reading: AMQPMessage) throws {
    // snippet.trySend
    do {
        try sender.trySend(reading)
    } catch let error where error.condition == .wouldBlock {
        print("no room: dropped")
    }
    // snippet.end
}

func sendBatch(_ sender: AMQPSender, _ messages: [AMQPMessage]) async throws {
    // snippet.batch
    let results = await sender.send(contentsOf: messages)
    for (message, result) in zip(messages, results) {
        switch result {
        case .success(let outcome): print(message.properties.subject ?? "", outcome)
        case .failure(let error): print(message.properties.subject ?? "", error)
        }
    }
    // snippet.end
}

func sendSettled(_ session: AMQPSession, _ message: AMQPMessage) async throws {
    // snippet.settled
    var configuration = AMQPSender.Configuration(target: "readings")
    configuration.settleMode = .settled
    let sender = try await session.openSender(configuration)
    try await sender.send(message)
    // snippet.end
}

func sendAnonymously(_ session: AMQPSession) async throws {
    // snippet.anonymous
    let sender = try await session.openSender(to: nil)
    var message = AMQPMessage(body: "hello")
    message.properties.to = "greetings"
    try await sender.send(message)
    // snippet.end
}

func fillMessage(_ bytes: [UInt8]) {
    // snippet.message
    var message = AMQPMessage(body: bytes)
    message.header.durable = true
    message.header.timeToLive = .seconds(60)
    message.properties.messageID = "order-4711"
    message.properties.subject = "orders/4711"
    message.properties.contentType = "application/octet-stream"
    message.applicationProperties["region"] = "north"
    message.applicationProperties["attempt"] = .uint(1)
    message.messageAnnotations[symbol: "x-opt-partition-key"] = "4711"
    // snippet.end
    print(message)
}

// snippet.json
struct Order: Codable {
    var number: Int
    var items: [String]
}

func send(_ order: Order, with sender: AMQPSender) async throws {
    try await sender.send(AMQPMessage(json: order))
}
// snippet.end

func forward(_ receiver: AMQPReceiver, _ sender: AMQPSender) async throws {
    // snippet.forward
    for try await delivery in receiver {
        let options = AMQPSendOptions(messageFormat: delivery.messageFormat)
        let tracker = try await sender.enqueue(encoded: delivery.payload, options: options)
        tracker.whenSettled { result in
            if case .success(.accepted) = result { delivery.accept() } else { delivery.release() }
        }
    }
    // snippet.end
}

func choose(_ sender: AMQPSender, _ message: AMQPMessage, _ tag: [UInt8]) async throws {
    // snippet.options
    try await sender.send(message, options: AMQPSendOptions(deliveryTag: tag))
    // snippet.end
}

func streamOut<Body: AsyncSequence>(_ body: sending Body, _ sender: AMQPSender) async throws
where Body.Element == ByteBuffer {
    // snippet.stream
    var message = AMQPMessage()
    message.properties.subject = "backup.tar"
    let outcome = try await sender.stream(message, body: body)
    print(outcome)
    // snippet.end
}
