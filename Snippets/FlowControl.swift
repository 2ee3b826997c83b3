// SPDX-License-Identifier: Apache-2.0

// Pieces of the article "Flow control".

import QpidProton

func limit(_ connection: AMQPConnection) async throws {
    // snippet.limits
    let session = try await connection.openSession(
        .init(incomingCapacity: .mebibytes(8), sendLimit: .init(high: .mebibytes(4), low: .mebibytes(1)))
    )
    var bulk = AMQPSender.Configuration(target: "bulk")
    bulk.sendLimit = .init(high: .kibibytes(256))
    let sender = try await session.openSender(bulk)
    // snippet.end
    await sender.close()
}

func urgent(_ session: AMQPSession) async throws {
    // snippet.priority
    var alarms = AMQPSender.Configuration(target: "alarms")
    alarms.priority = 9
    var reports = AMQPSender.Configuration(target: "reports")
    reports.priority = 1
    let senders = (try await session.openSender(alarms), try await session.openSender(reports))
    // snippet.end
    await senders.0.close()
    await senders.1.close()
}

func share(_ urls: [String]) async throws {
    // snippet.budget
    let budget = AMQPMemoryBudget(limit: .mebibytes(64))
    var configuration = AMQPConnection.Configuration()
    configuration.sendBudget = budget
    configuration.sendLimit = .init(high: .mebibytes(16))
    var connections: [AMQPConnection] = []
    for url in urls {
        connections.append(try await AMQPConnection.connect(to: url, configuration: configuration))
    }
    print(budget.used, "bytes now,", budget.peak, "at most")
    // snippet.end
    for connection in connections { await connection.close() }
}

func overflow(_ session: AMQPSession, _ readings: AsyncStream<AMQPMessage>) async throws {
    // snippet.overflow
    var configuration = AMQPSender.Configuration(target: "readings")
    configuration.sendLimit = .init(high: .kibibytes(64))
    configuration.overflow = .dropOldest
    let sender = try await session.openSender(configuration)
    for await reading in readings {
        try await sender.enqueue(reading)
    }
    print(sender.droppedMessages, "readings were not sent")
    // snippet.end
}

func limitRate(_ session: AMQPSession) async throws {
    // snippet.rate
    var configuration = AMQPSender.Configuration(target: "mails")
    configuration.rateLimit = .init(messagesPerSecond: 50, bytesPerSecond: 1_000_000)
    let sender = try await session.openSender(configuration)
    try sender.setRateLimit(.init(messagesPerSecond: 200))
    // snippet.end
    await sender.close()
}

func tellWhy(_ sender: AMQPSender, _ message: AMQPMessage) throws {
    // snippet.blocked
    do {
        try sender.trySend(message)
    } catch let error where error.condition == .wouldBlock {
        print(error.detail)
        if error.blockedBy.contains(.credit) { print("the peer grants no credit") }
    }
    // snippet.end
}

func watch(_ session: AMQPSession, _ sender: AMQPSender) {
    // snippet.watch
    print("session:", session.outgoingBytes.bytes, "bytes now; link:", sender.outgoingBytes.bytes, "bytes now")
    print("credit:", sender.credit)
    // snippet.end
}

func follow(_ sender: AMQPSender, _ messages: [AMQPMessage]) async throws {
    // snippet.deliveryLimit
    var sent = 0
    var limit = sender.deliveryLimit
    for message in messages {
        while sent >= limit {
            limit = try await sender.deliveryLimit(after: limit)
        }
        try await sender.enqueue(message)
        sent += 1
    }
    // snippet.end
}

func look(_ connection: AMQPConnection) async throws {
    // snippet.snapshot
    let snapshot = try await connection.snapshot()
    print("the connection has", snapshot.outgoing)
    for link in snapshot.links {
        print(link.name, "has", link.bytes, "and credit for", link.credit)
        if let cause = link.blockedBy { print("it waits:", cause, "for", link.blockedFor) }
        print("so far it has waited", link.blockedTimes)
    }
    // snippet.end
}

func events(_ connection: AMQPConnection) async {
    // snippet.events
    for await event in connection.flowEvents(after: .milliseconds(100)) {
        switch event.kind {
        case .blocked(let time): print(event.linkName, "does not move:", event.cause, "for", time)
        case .unblocked(let after): print(event.linkName, "continues after", after)
        }
    }
    // snippet.end
}

func report(_ url: String) async throws {
    // snippet.metrics
    var metrics = AMQPMetrics()
    metrics.interval = .seconds(5)
    metrics.name = { "orders." + $0 }
    metrics.dimensions = [("peer", "broker-1")]
    var configuration = AMQPConnection.Configuration()
    configuration.metrics = metrics
    configuration.stallWarning = .seconds(10)
    let connection = try await AMQPConnection.connect(to: url, configuration: configuration)
    // snippet.end
    await connection.close()
}

func budgetForReceiving() async throws {
    // snippet.receiveBudget
    let budget = AMQPMemoryBudget(limit: .mebibytes(64))
    var configuration = AMQPConnection.Configuration()
    configuration.receiveBudget = budget
    let connection = try await AMQPConnection.connect(to: "amqp://localhost", configuration: configuration)
    print("held:", budget.used, "at most:", budget.peak)
    // snippet.end
    await connection.close()
}
