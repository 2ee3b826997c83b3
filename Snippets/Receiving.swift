// SPDX-License-Identifier: Apache-2.0

// Pieces of the article "Receiving".

import NIOCore
import QpidProton

func handle(_ message: AMQPMessage) async throws {
    print(message)
}

func receive(_ receiver: AMQPReceiver) async throws {
    // snippet.iterate
    for try await delivery in receiver {
        try await handle(delivery.decodeMessage())
        delivery.accept()
    }
    // snippet.end
}

func settle(_ receiver: AMQPReceiver) async throws {
    // snippet.settle
    for try await delivery in receiver {
        let message: AMQPMessage
        do {
            message = try delivery.decodeMessage()
        } catch {
            delivery.reject(error)
            continue
        }
        switch message.properties.subject {
        case "order": delivery.accept()
        case "not for us": delivery.release()
        case "try again": delivery.modify(AMQPModified(deliveryFailed: true))
        default:
            delivery.reject(AMQPError(scope: .delivery, condition: .invalidField, detail: "the subject is unknown"))
        }
    }
    // snippet.end
}

func takeOne(_ receiver: AMQPReceiver) async throws {
    // snippet.timeout
    if let delivery = try await receiver.receive(timeout: .seconds(5)) {
        try await handle(delivery.decodeMessage())
        delivery.accept()
    } else {
        print("the peer has no message for us")
    }
    // snippet.end
}

func takeSome(_ receiver: AMQPReceiver) async throws {
    // snippet.next
    while let delivery = try await receiver.next() {
        delivery.accept()
        if try delivery.decodeMessage().properties.subject == "end" { break }
    }
    // The link is still open.
    // snippet.end
}

func learnTheEnd(_ delivery: AMQPDelivery) async throws {
    // snippet.settled
    delivery.accept()
    switch try await delivery.settled() {
    case .settled: print("done")
    case .settledBySender(let outcome): print("the sender says:", outcome)
    case .notWritten(let error): print("the message comes again:", error)
    case .inDoubt(let error): print("the message may come again:", error)
    }
    // snippet.end
}

func receiveBatches(_ receiver: AMQPReceiver) async throws {
    // snippet.batches
    for try await batch in receiver.batches(max: 100) {
        for delivery in batch {
            try await handle(delivery.decodeMessage())
        }
        batch.last?.accept(includingEarlier: true)
    }
    // snippet.end
}

func grantByHand(_ session: AMQPSession) async throws {
    // snippet.credit
    let receiver = try await session.openReceiver(from: "jobs", window: .manual)
    receiver.grant(credit: 10)
    for _ in 0..<10 {
        guard let delivery = try await receiver.next() else { break }
        try await handle(delivery.decodeMessage())
        delivery.accept()
    }
    await receiver.close()
    // snippet.end
}

func boundTheWindow(_ session: AMQPSession) async throws {
    // snippet.window
    var configuration = AMQPReceiver.Configuration(source: "orders", window: .messages(64))
    configuration.maxMessageSize = .mebibytes(1)
    configuration.creditReturn = .onSettlement
    let receiver = try await session.openReceiver(configuration)
    // snippet.end
    await receiver.close()
}

func pauseForAWhile(_ receiver: AMQPReceiver, _ maintain: () async throws -> Void) async throws {
    // snippet.pause
    try await receiver.pause()
    // Nothing more arrives. What has arrived can still be taken.
    try await maintain()
    receiver.resume()
    // snippet.end
}

func takeAll(_ receiver: AMQPReceiver) async throws {
    // snippet.drain
    let missing = try await receiver.drain(timeout: .seconds(5))
    while let delivery = receiver.poll() {
        try await handle(delivery.decodeMessage())
        delivery.accept()
    }
    print("there were \(missing) messages fewer than the credit")
    // snippet.end
}

func stop(_ receiver: AMQPReceiver) async {
    // snippet.stop
    let result = await receiver.close(within: .seconds(30))
    print("not settled:", result.deliveriesNotSettled, "settlements in doubt:", result.settlementsInDoubt)
    // snippet.end
}

func filter(_ session: AMQPSession) async throws {
    // snippet.filter
    let source = AMQPSource(address: "orders", filters: [.selector("region = 'north'")])
    let receiver = try await session.openReceiver(.init(source: source))
    // snippet.end
    await receiver.close()
}

func readStream(_ session: AMQPSession) async throws {
    // snippet.stream
    let source = AMQPSource(address: "/queues/events", filters: [.streamOffset(.first)])
    let receiver = try await session.openReceiver(.init(source: source))
    // snippet.end
    await receiver.close()
}

// snippet.json
struct Order: Codable {
    var number: Int
    var items: [String]
}

func order(in delivery: AMQPDelivery) throws -> Order {
    try delivery.decodeMessage().decodeJSON(Order.self)
}
// snippet.end

func streamIn(_ session: AMQPSession, _ write: (ByteBuffer) async throws -> Void) async throws {
    // snippet.body
    var configuration = AMQPReceiver.Configuration(source: "backups", window: .onDemand)
    configuration.streamsMessages = true
    configuration.maxMessageSize = nil
    let receiver = try await session.openReceiver(configuration)
    for try await delivery in receiver {
        for try await piece in delivery.body {
            try await write(piece)
        }
        delivery.accept()
    }
    // snippet.end
}
