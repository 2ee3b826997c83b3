// SPDX-License-Identifier: Apache-2.0

// Requests whose replies come to a node that the peer makes for them.

import QpidProton

func request(_ session: AMQPSession) async throws {
    // snippet.request
    let replies = try await session.openReceiver(.init(source: .dynamic))
    let sender = try await session.openSender(to: "prices")
    var request = AMQPMessage(body: "oranges")
    request.properties.messageID = "request-1"
    request.properties.replyTo = replies.remoteSource.address
    try await sender.send(request)
    if let delivery = try await replies.receive(timeout: .seconds(5)) {
        let reply = try delivery.decodeMessage()
        delivery.accept()
        print(reply.properties.correlationID ?? "no id", reply.bodyString ?? "no text")
    }
    // snippet.end
}

func answer(_ session: AMQPSession) async throws {
    // snippet.answer
    let requests = try await session.openReceiver(from: "prices")
    let answers = try await session.openSender(to: nil)
    for try await delivery in requests {
        let request = try delivery.decodeMessage()
        var reply = AMQPMessage(body: "3.20 a kilogram")
        reply.properties.to = request.properties.replyTo
        reply.properties.correlationID = request.properties.messageID
        try await answers.send(reply)
        delivery.accept()
    }
    // snippet.end
}
