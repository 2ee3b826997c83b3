// SPDX-License-Identifier: Apache-2.0

import DequeModule
import NIOCore
import QpidProton

/// Sends like the sender of the throughput benchmark, and in further ways.
struct GateSender {
    private static let burst = 64

    private let senders: [AMQPSender]
    private var message: AMQPMessage
    private var outstanding: Deque<AMQPTracker> = []
    private let expected: AMQPOutcome

    /// - Parameters:
    ///   - senders: The senders, used in turn.
    ///   - size: The bytes of a body.
    init(_ senders: [AMQPSender], size: Int, isSettled: Bool) {
        self.senders = senders
        self.message = Self.message(size)
        self.expected = isSettled ? .settled : .accepted
    }

    /// Returns the message of the throughput benchmark: a property and a body.
    static func message(_ size: Int) -> AMQPMessage {
        var message = AMQPMessage(body: ByteBuffer(repeating: UInt8(ascii: "x"), count: size))
        message.applicationProperties["sent"] = .timestamp(.init(millisecondsSinceEpoch: 1 << 40))
        return message
    }

    /// Returns the next message, with another value of the same size.
    private mutating func next(_ number: Int) -> AMQPMessage {
        let time = Int64(1 << 40 + number)
        self.message.applicationProperties["sent"] = .timestamp(.init(millisecondsSinceEpoch: time))
        return self.message
    }

    private func sender(_ number: Int) -> AMQPSender { self.senders[number % self.senders.count] }

    mutating func each(_ count: Int) async throws {
        for number in 0..<count { try self.check(await self.sender(number).send(self.next(number))) }
    }

    mutating func enqueue(_ count: Int) async throws {
        for number in 0..<count {
            self.outstanding.append(try await self.sender(number).enqueue(self.next(number)))
            if (number + 1).isMultiple(of: Self.burst) { try await self.look() }
        }
        try await self.finish()
    }

    mutating func trySend(_ count: Int) async throws {
        for number in 0..<count {
            self.outstanding.append(try self.sender(number).trySend(self.next(number)))
            if (number + 1).isMultiple(of: Self.burst) { try await self.look() }
        }
        try await self.finish()
    }

    mutating func batches(_ count: Int) async throws {
        var batch: [AMQPMessage] = []
        for number in 0..<count {
            batch.append(self.next(number))
            guard batch.count == Self.burst else { continue }
            for result in await self.sender(0).send(contentsOf: batch) { try self.check(result.get()) }
            batch.removeAll(keepingCapacity: true)
        }
    }

    /// Streams messages of 64 pieces each.
    mutating func stream(_ count: Int) async throws {
        guard let piece = self.message.bodyBytes else { throw Failure("the message has no bytes") }
        for _ in 0..<count / Self.burst {
            try self.check(await self.sender(0).stream(body: GatePieces(piece: piece, left: Self.burst)))
        }
    }

    private mutating func look() async throws {
        while let first = self.outstanding.first, let result = first.result {
            try self.check(result.get())
            self.outstanding.removeFirst()
        }
        // The connection runs on the same thread.
        await Task.yield()
    }

    private func finish() async throws {
        for transfer in self.outstanding { try self.check(await transfer.outcome()) }
    }

    private func check(_ outcome: AMQPOutcome) throws {
        guard outcome == self.expected else { throw Failure("the outcome of a message is \(outcome)") }
    }
}

/// The body of a streamed message, which allocates nothing.
struct GatePieces: AsyncSequence, AsyncIteratorProtocol {
    let piece: ByteBuffer
    var left: Int

    func makeAsyncIterator() -> GatePieces { self }

    mutating func next() async -> ByteBuffer? {
        guard self.left > 0 else { return nil }
        self.left -= 1
        return self.piece
    }
}

/// Receives like the receiver of the throughput benchmark.
enum GateReceiver {
    /// Receives from several links at the same time, each with the same number of messages.
    static func each(_ receivers: [AMQPReceiver], _ count: Int) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for receiver in receivers {
                group.addTask { try await Self.each(receiver, count / receivers.count) }
            }
        }
    }

    static func each(_ receiver: AMQPReceiver, _ count: Int) async throws {
        // The loop calls `next()` directly, without `for await`.
        for _ in 0..<count {
            guard let delivery = try await receiver.next() else { throw Failure("the link was closed early") }
            try self.read(delivery)
            delivery.accept()
        }
    }

    static func batches(_ receiver: AMQPReceiver, _ count: Int) async throws {
        var rest = count
        while rest > 0 {
            let batch = try await receiver.nextBatch(max: 256)
            for delivery in batch { try self.read(delivery) }
            batch.acceptAll()
            rest -= batch.count
        }
    }

    /// Receives streamed messages of 64 pieces of `size` bytes each.
    static func stream(_ receiver: AMQPReceiver, _ count: Int, _ size: Int) async throws {
        var bytes = 0
        while bytes < count * size {
            guard let delivery = try await receiver.next() else { throw Failure("the link was closed early") }
            for try await piece in delivery.body { bytes += piece.readableBytes }
            delivery.accept()
        }
    }

    private static func read(_ delivery: AMQPDelivery) throws {
        let message = try delivery.decodeMessage()
        guard case .timestamp? = message.applicationProperties["sent"], (message.bodyBytes?.readableBytes ?? 0) > 0
        else {
            throw Failure("a message has no property or body")
        }
    }
}
