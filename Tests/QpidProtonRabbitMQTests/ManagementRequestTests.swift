// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Testing

@testable import QpidProtonRabbitMQ

/// The encoding of requests as messages, and the conversion of answers to errors.
@Suite struct ManagementRequestTests {
    @Test func aRequestIsAMessage() throws {
        let request = try ManagementRequest(.get, "queues", "a/b")
        let message = try AMQPMessage(decoding: request.message(id: 7).encoded())
        #expect(message.properties.messageID == .ulong(7) && message.properties.to == "/queues/a%2Fb")
        #expect(message.properties.subject == "GET" && message.properties.replyTo == "$me")
        // A request without a body section crashes the session in RabbitMQ 4.0.5.
        #expect(message.body == .value(.null))
    }

    @Test(arguments: [".", ".."])
    func dotNamesAreRefusedAsPathSegments(_ name: String) throws {
        let error = #expect(throws: AMQPError.self) { try ManagementRequest(.put, "queues", name) }
        #expect(error?.condition == .invalidArgument)
        #expect(try ManagementRequest(.put, "queues", "...").path == "/queues/...")
    }

    @Test func aQueueWithAllArguments() {
        var queue = RabbitMQQueue("jobs", kind: .quorum)
        queue.messageTimeToLive = .milliseconds(1_500)
        queue.maxLength = 10
        queue.overflow = .rejectPublish
        queue.deadLetterExchange = ""
        queue.deadLetterKey = "dead"
        queue.maxPriority = 5
        queue.hasSingleActiveConsumer = true
        queue.deliveryLimit = 3
        queue.arguments = ["x-custom": "yes", "x-max-length": .long(11)]
        (queue.isDurable, queue.isExclusive, queue.isAutoDelete) = (false, true, true)
        let expected: AMQPMap = [
            "durable": false, "exclusive": true, "auto_delete": true,
            "arguments": [
                "x-queue-type": "quorum", "x-message-ttl": 1_500, "x-max-length": 11, "x-overflow": "reject-publish",
                "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-max-priority": 5,
                "x-single-active-consumer": true, "x-delivery-limit": 3, "x-custom": "yes",
            ],
        ]
        #expect(queue.declaration == expected)
        let plain: AMQPMap = ["durable": true, "exclusive": false, "auto_delete": false, "arguments": [:]]
        #expect(RabbitMQQueue("plain").declaration == plain)
    }

    @Test func anExchangeAndBindings() {
        var exchange = RabbitMQExchange("events", kind: .topic)
        exchange.isInternal = true
        let declaration: AMQPMap = [
            "type": "topic", "durable": true, "auto_delete": false, "internal": true, "arguments": [:],
        ]
        #expect(exchange.declaration == declaration)
        let toQueue = RabbitMQBinding(exchange: "e;1", to: .queue("q/1"), key: "a=b")
        let toExchange = RabbitMQBinding(exchange: "e", to: .exchange("f"), arguments: ["x": 1])
        let first: AMQPMap = [
            "source": "e;1", "binding_key": "a=b", "destination_queue": "q/1", "arguments": [:],
        ]
        let second: AMQPMap = ["source": "e", "binding_key": "", "destination_exchange": "f", "arguments": ["x": 1]]
        #expect(toQueue.declaration == first && toExchange.declaration == second)
        #expect(toQueue.path == "/bindings/src=e%3B1;dstq=q%2F1;key=a%3Db;args=")
        #expect(toExchange.listPath == "/bindings?dste=f&key=&src=e")
    }

    @Test func aBindingIsFoundByItsArguments() throws {
        let list: AMQPValue = [
            ["arguments": ["x-match": "all", "size": 2], "location": "/bindings/1"],
            ["arguments": ["size": .uint(1), "x-match": "all"], "location": "/bindings/2"],
            ["arguments": [:], "location": "/bindings/3"],
        ]
        func location(_ arguments: AMQPMap) throws -> String? {
            try RabbitMQBinding(exchange: "e", to: .queue("q"), arguments: arguments).location(in: list)
        }
        #expect(try location(["x-match": "all", "size": 1]) == "/bindings/2")
        #expect(try location(["size": 2, .symbol("x-match"): "all"]) == "/bindings/1")
        #expect(try location([:]) == "/bindings/3")
        #expect(try location(["size": 3, "x-match": "all"]) == nil)
        #expect(try location(["size": 1]) == nil)
        let error = #expect(throws: AMQPError.self) {
            try RabbitMQBinding(exchange: "e", to: .queue("q")).location(in: "text")
        }
        #expect(error?.condition == .decodeError)
    }

    @Test(arguments: [
        (400, "bad", AMQPCondition.invalidField), (401, "who?", .unauthorizedAccess), (403, "no", .notAllowed),
        (404, "gone", .notFound), (405, "how?", .notImplemented), (409, "another", .preconditionFailed),
        (500, "oh", .internalError), (503, "later", .internalError), (302, "there", .internalError),
        (400, "cannot obtain exclusive access to locked queue 'x' in vhost '/'", .resourceLocked),
        (400, "no queue 'x' in vhost '/'", .notFound), (400, "no exchange 'x' in vhost '/'", .notFound),
    ])
    func anErrorHasTheStatusAndTheReason(_ status: Int, _ words: String, _ condition: AMQPCondition) throws {
        let error = try #require(ManagementResponse(status: status, body: .string(words)).error)
        #expect(error.scope == .call && error.condition == condition && error.detail == words && error.origin == .peer)
        #expect(error.info == [.symbol("status"): .long(Int64(status))])
    }

    @Test func successIsNoError() {
        for status in [200, 201, 204] { #expect(ManagementResponse(status: status, body: .null).error == nil) }
        #expect(ManagementResponse(status: 404, body: .null).error?.detail == "status 404")
    }

    @Test func answersThatCannotBeRead() throws {
        var message = AMQPMessage(body: .null as AMQPValue)
        #expect(ManagementResponse.read(message) == nil)
        message.properties.correlationID = "text"
        #expect(ManagementResponse.read(message) == nil)
        message.properties.correlationID = 3
        for subject in [nil, "", "OK", "99", "600", "-1", "20000000000000000000"] {
            message.properties.subject = subject
            let (id, result) = try #require(ManagementResponse.read(message))
            let error = #expect(throws: AMQPError.self) { try result.get() }
            #expect(id == 3 && error?.condition == .decodeError)
        }
        message.properties.subject = "200"
        let (_, good) = try #require(ManagementResponse.read(message))
        #expect(try good.get() == ManagementResponse(status: 200, body: .null))
        message.body = .data([])
        let (_, bad) = try #require(ManagementResponse.read(message))
        #expect(throws: AMQPError.self) { try bad.get() }
        for body in [AMQPValue.null, "text", ["message_count": "many"], [:]] {
            let response = ManagementResponse(status: 200, body: body)
            #expect(throws: AMQPError.self) { try response.messageCount() }
        }
    }

    @Test func aQueueOfTheBroker() throws {
        let map = try #require(FakeManagement.queue("q", messages: 12).mapValue)
        let info = try RabbitMQQueueInfo(map)
        #expect(info.name == "q" && info.virtualHost == "/" && info.kind == .quorum && info.messageCount == 12)
        #expect(info.isDurable && !info.isExclusive && !info.isAutoDelete && info.consumerCount == 2)
        #expect(info.leader == "rabbit@localhost" && info.replicas == ["rabbit@localhost"])
        #expect(info.arguments == ["x-queue-type": "quorum"])
        for key in ["name", "vhost", "durable", "auto_delete", "exclusive", "type", "message_count", "consumer_count"] {
            var broken = map
            broken[key] = .null
            let error = #expect(throws: AMQPError.self) { try RabbitMQQueueInfo(broken) }
            #expect(error?.condition == .decodeError && error?.detail.contains("'\(key)'") == true)
        }
        // A stream may have no leader at the moment.
        var leaderless = map
        (leaderless["leader"], leaderless["replicas"]) = (nil, nil)
        #expect(try RabbitMQQueueInfo(leaderless).replicas.isEmpty)
    }
}
