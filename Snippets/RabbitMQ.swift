// Pieces of the README and of the documentation of QpidProtonRabbitMQ.

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
