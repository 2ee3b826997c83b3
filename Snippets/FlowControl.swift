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
    try await sender.close()
}

func urgent(_ session: AMQPSession) async throws {
    // snippet.priority
    var alarms = AMQPSender.Configuration(target: "alarms")
    alarms.priority = 9
    var reports = AMQPSender.Configuration(target: "reports")
    reports.priority = 1
    let senders = (try await session.openSender(alarms), try await session.openSender(reports))
    // snippet.end
    try await senders.0.close()
    try await senders.1.close()
}

func watch(_ session: AMQPSession, _ sender: AMQPSender) {
    // snippet.watch
    print("session:", session.outgoingBytes, "now,", session.outgoingBytesPeak, "at most")
    print("link:", sender.outgoingBytes, "now,", sender.outgoingBytesPeak, "at most")
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
