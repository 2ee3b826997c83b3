// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

/// The management against a node of this library.
@Suite(.timeLimit(.minutes(2)))
struct RabbitMQManagementTests {
    @Test func theLinksAreAPair() async throws {
        try await FakeManagement.with { _ in
            .ignore
        } _: { fake, connection in
            let management = try await RabbitMQManagement.open(on: connection)
            let attached = fake.attached
            #expect(attached.count == 2 && Set(attached.map(\.name)).count == 1)
            for attach in attached {
                #expect(attach.properties == [.symbol("paired"): true])
                #expect(attach.source?.address == "/management" && attach.target?.address == "/management")
                #expect(attach.senderSettleMode == .settled)
            }
            try await management.close().check()
            #expect(connection.error == nil)
        }
    }

    @Test func everyRequest() async throws {
        try await FakeManagement.with { request in
            switch (request.method, request.path) {
            case ("PUT", "/queues/a%2Fb"): .answer(status: "201", body: FakeManagement.queue("a/b"))
            case ("GET", "/queues/a%2Fb"): .answer(status: "200", body: FakeManagement.queue("a/b", messages: 3))
            case ("DELETE", "/queues/a%2Fb/messages"): .answer(status: "200", body: ["message_count": .ulong(3)])
            case ("DELETE", "/queues/a%2Fb"): .answer(status: "200", body: ["message_count": .ulong(4)])
            case ("PUT", "/exchanges/e%20e"), ("DELETE", "/exchanges/e%20e"), ("POST", "/bindings"),
                ("DELETE", "/bindings/src=e%20e;dstq=a%2Fb;key=;args="), ("DELETE", "/bindings/5"):
                .answer(status: "204", body: .null)
            case ("GET", "/bindings?dstq=a%2Fb&key=&src=e%20e"):
                .answer(status: "200", body: [["arguments": ["x": .int(1)], "location": "/bindings/5"]])
            default: .answer(status: "404", body: "a test asks for something else")
            }
        } _: { fake, connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                #expect(try await management.declare(RabbitMQQueue("a/b", kind: .quorum)).kind == .quorum)
                #expect(try await management.queue("a/b").messageCount == 3)
                #expect(try await management.purgeQueue("a/b") == 3)
                #expect(try await management.deleteQueue("a/b") == 4)
                try await management.declare(RabbitMQExchange("e e", kind: .fanout))
                try await management.bind(RabbitMQBinding(exchange: "e e", to: .queue("a/b")))
                try await management.unbind(RabbitMQBinding(exchange: "e e", to: .queue("a/b")))
                try await management.unbind(RabbitMQBinding(exchange: "e e", to: .queue("a/b"), arguments: ["x": 1]))
                // This binding does not exist, so there is nothing to delete.
                try await management.unbind(RabbitMQBinding(exchange: "e e", to: .queue("a/b"), arguments: ["x": 2]))
                try await management.deleteExchange("e e")
            }
            #expect(fake.received.count == 11)
            #expect(Set(fake.received.map(\.id)).count == 11 && fake.received.allSatisfy { $0.replyTo == "$me" })
            #expect(fake.received.allSatisfy { if case .value = $0.body { true } else { false } })
        }
    }

    @Test func aRefusalIsThrown() async throws {
        let words = "inequivalent arg 'x-queue-type' for queue 'q'"
        try await FakeManagement.with { _ in
            .answer(status: "409", body: .string(words))
        } _: { _, connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                let error = try await failure(of: "the declaration") {
                    try await management.declare(RabbitMQQueue("q"))
                }
                #expect(error.condition == .preconditionFailed && error.detail == words && error.origin == .peer)
                #expect(error.info[symbol: "status"] == 409)
            }
        }
    }

    @Test func answersFindTheirRequests() async throws {
        try await FakeManagement.with { request in
            let name = request.path?.split(separator: "/").last.map(String.init) ?? ""
            let queue = FakeManagement.queue(name)
            // Every second answer overtakes the answer before it.
            return Int(name)?.isMultiple(of: 2) == true
                ? .answerAfterTheNext(status: "200", body: queue) : .answer(status: "200", body: queue)
        } _: { fake, connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                try await withThrowingTaskGroup(of: (Int, String).self) { group in
                    for number in 0..<200 {
                        group.addTask { (number, try await management.queue("\(number)").name) }
                    }
                    while fake.received.count < 200 { try await Task.sleep(for: .milliseconds(1)) }
                    // The last answer may wait for one more request.
                    #expect(try await management.queue("-1").name == "-1")
                    for try await (number, name) in group { #expect(name == "\(number)") }
                }
            }
        }
    }

    @Test func aMissingAnswerIsATimeout() async throws {
        try await FakeManagement.with {
            $0.method == "GET" ? .ignore : .answer(status: "204", body: .null)
        } _: {
            fake,
            connection in
            let management = try await RabbitMQManagement.open(on: connection, timeout: .milliseconds(200))
            let error = try await failure(of: "the request") { _ = try await management.queue("q") }
            #expect(error.condition == .timeout && error.detail.contains("GET /queues/q"))
            // The timeout does not affect other requests.
            try await management.deleteExchange("e")
            try await management.close().check()
            #expect(fake.received.count == 2)
        }
    }

    @Test func aTaskIsCancelled() async throws {
        try await FakeManagement.with {
            $0.method == "GET" ? .ignore : .answer(status: "204", body: .null)
        } _: {
            fake,
            connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                let asking = Task { _ = try await management.queue("q") }
                while fake.received.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
                asking.cancel()
                #expect(try await failure(of: "the request") { try await asking.value }.condition == .cancelled)
                try await management.deleteExchange("e")
            }
        }
    }

    @Test func invalidAnswersAreErrors() async throws {
        try await FakeManagement.with { request in
            switch request.path {
            case "/queues/data": .message(AMQPMessage(body: [1, 2] as [UInt8]))
            case "/queues/null": .answer(status: "200", body: .null)
            default: .answer(status: "200", body: ["name": "q"])
            }
        } _: { _, connection in
            try await RabbitMQManagement.withManagement(on: connection) { management in
                for name in ["data", "null", "poor"] {
                    let error = try await failure(of: name) { _ = try await management.queue(name) }
                    #expect(error.condition == .decodeError && error.origin == .local, "\(name): \(error)")
                }
            }
        }
    }

    @Test func theSessionEnds() async throws {
        let reason = AMQPError(
            scope: .session,
            condition: .unauthorizedAccess,
            detail: "configure access to queue 'q' refused for user 'u'"
        )
        try await FakeManagement.with { _ in
            .endSession(reason)
        } _: { _, connection in
            let management = try await RabbitMQManagement.open(on: connection)
            // The pending request and a later one both fail.
            for _ in 0..<2 {
                let error = try await failure(of: "the declaration") {
                    try await management.declare(RabbitMQQueue("q"))
                }
                #expect(error.condition == .unauthorizedAccess && error.detail.contains(reason.detail), "\(error)")
            }
            #expect(connection.error == nil)
        }
    }

    @Test func aClosedManagementRefusesRequests() async throws {
        try await FakeManagement.with { _ in
            .ignore
        } _: { fake, connection in
            let management = try await RabbitMQManagement.open(on: connection)
            let asking = Task { try await failure(of: "the request") { _ = try await management.queue("q") } }
            while fake.received.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
            try await management.close().check()
            #expect(try await asking.value.condition == .closed)
            let error = try await failure(of: "a request") { _ = try await management.queue("q") }
            #expect(error.condition == .closed)
            try await management.close().check()
        }
    }

    @Test func theConnectionIsLost() async throws {
        try await FakeManagement.with { _ in
            .ignore
        } _: { fake, connection in
            let management = try await RabbitMQManagement.open(on: connection)
            let asking = Task { try await failure(of: "the request") { _ = try await management.queue("q") } }
            while fake.received.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
            try await connection.close().check()
            let error = try await asking.value
            #expect(error.condition == .closed, "\(error)")
        }
    }

    @Test func theManagementEndsWithItsLastReference() async throws {
        try await FakeManagement.with { _ in
            .ignore
        } _: { _, connection in
            weak var gone: RabbitMQManagement?
            do {
                let management = try await RabbitMQManagement.open(on: connection)
                gone = management
            }
            while gone != nil { try await Task.sleep(for: .milliseconds(1)) }
        }
    }

    @Test func aPeerWithoutManagementIsRefused() async throws {
        try await FakeManagement.with(capabilities: []) { _ in
            .ignore
        } _: { _, connection in
            let error = try await failure(of: "the opening") { _ = try await RabbitMQManagement.open(on: connection) }
            #expect(error.condition == .notImplemented && error.detail.contains("RabbitMQ"))
        }
    }
}
