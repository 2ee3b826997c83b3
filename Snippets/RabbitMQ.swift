// SPDX-License-Identifier: Apache-2.0

// Code of the article "RabbitMQ 4 in truth" and of the documentation of QpidProtonRabbitMQ.

import QpidProton
import QpidProtonRabbitMQ

func manage(_ connection: AMQPConnection) async throws {
    // snippet.declare
    var orders = RabbitMQQueue("orders/new", kind: .quorum)
    orders.deadLetterExchange = "refused"
    orders.deliveryLimit = 5
    try await RabbitMQManagement.withManagement(on: connection) { management in
        try await management.declare(RabbitMQExchange("refused", kind: .fanout))
        try await management.declare(orders)
        try await management.declare(RabbitMQExchange("shop", kind: .topic))
        try await management.bind(RabbitMQBinding(exchange: "shop", to: .queue("orders/new"), key: "order.#"))
        print(try await management.queue("orders/new").messageCount)
    }
    // snippet.end
}

func send(_ session: AMQPSession, _ order: AMQPMessage) async throws {
    // snippet.addresses
    let toQueue = try await session.openSender(to: RabbitMQAddress.queue("orders/new"))
    let toExchange = try await session.openSender(to: RabbitMQAddress.exchange("shop", key: "order.books"))
    // snippet.end
    try await toQueue.send(order)
    try await toExchange.send(order)
}

func read(_ session: AMQPSession) async throws {
    // snippet.stream
    let log = try await session.openReceiver(.init(source: .rabbitMQStream("log", from: .first)))
    for try await delivery in log {
        let offset = try delivery.decodeMessage().messageAnnotations[symbol: "x-stream-offset"]
        print(offset ?? "no offset", try delivery.decodeMessage().bodyString ?? "no text")
        delivery.accept()
    }
    // snippet.end
}

// snippet.returns
func returns(of delivery: AMQPDelivery) throws -> Int {
    try delivery.decodeMessage().messageAnnotations[symbol: "x-delivery-count"]?.intValue ?? 0
}
// snippet.end

// snippet.delivery-limit
func declareJobs(_ management: RabbitMQManagement) async throws {
    var jobs = RabbitMQQueue("jobs", kind: .quorum)
    jobs.deliveryLimit = 100
    jobs.deadLetterExchange = "refused"
    try await management.declare(jobs)
}
// snippet.end

// snippet.replies
func requestPrice(_ connection: AMQPConnection) async throws {
    let session = try await connection.openSession()
    try await RabbitMQManagement.withManagement(on: connection) { management in
        let queue = RabbitMQQueue.temporary(prefix: "replies")
        try await management.declare(queue)
        let replies = try await session.openReceiver(from: RabbitMQAddress.queue(queue.name))
        let sender = try await session.openSender(to: RabbitMQAddress.queue("prices"))
        var request = AMQPMessage(body: "oranges")
        request.properties.messageID = "request-1"
        request.properties.replyTo = RabbitMQAddress.queue(queue.name)
        try await sender.send(request)
        if let delivery = try await replies.receive(timeout: .seconds(5)) {
            print(try delivery.decodeMessage().bodyString ?? "no text")
            delivery.accept()
        }
    }
}
// snippet.end

// snippet.topology
func receiveOrders(_ urls: [String]) async throws -> AMQPClient.Receiver {
    let topology = RabbitMQTopology()
    var configuration = AMQPClient.Configuration()
    configuration.onConnect = topology.restore
    let client = AMQPClient(urls: urls, configuration: configuration)
    let queue = RabbitMQQueue.temporary()
    try await topology.withManagement(on: client) { management in
        try await management.declare(queue)
        try await management.bind(RabbitMQBinding(exchange: "shop", to: .queue(queue.name), key: "order.#"))
    }
    return try await client.receiver(from: RabbitMQAddress.queue(queue.name))
}
// snippet.end
