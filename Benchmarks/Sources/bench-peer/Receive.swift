// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOCore
import QpidProton
import Synchronization

/// The way in which a receiver receives and accepts messages.
enum Taking: String, ExpressibleByArgument {
    /// One by one, with `for await`.
    case each
    /// In batches of the waiting messages.
    case batch
    /// By 64 tasks at the same time, so that the messages are settled out of order.
    case workers
}

struct Receive: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receiver",
        abstract: "Accepts messages until it has received a number of them."
    )

    @Option var port: Int
    @Option var credit: Int
    @Option var count: Int
    @Option var address = "bench-0"
    @Option var settle = Taking.batch
    @Option var from = Origin.detached
    @Flag var connect = false
    @OptionGroup var tls: TLSOptions

    mutating func validate() throws {
        guard self.count > 0, self.credit > 0 else { throw ValidationError("--count and --credit take 1 or more") }
    }

    func run() async throws {
        let tally = Tally(self.count)
        if self.connect {
            let connection = try await Peer.connect(self.port, self.tls)
            let session = try await connection.openSession(Peer.session)
            let receiver = try await session.openReceiver(from: self.address, window: .messages(self.credit))
            let taking = self.settle
            try await self.from.run(connection) { try await Self.take(receiver, taking, tally) }
            await connection.close()
        } else {
            try await self.serve(tally)
        }
        var usage = Usage()
        usage.setRate(self.count, size: tally.bodyBytes / self.count, tally.duration)
        try usage.print()
    }

    /// Serves one connection with any number of links.
    private func serve(_ tally: Tally) async throws {
        let listener = try await Peer.listen(self.port, self.tls)
        guard let connection = try await listener.makeAsyncIterator().next(isolation: nil) else { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.attach(connection, tally) }
            try await tally.done()
            await connection.close()
            group.cancelAll()
        }
        await listener.close()
    }

    private func attach(_ connection: AMQPConnection, _ tally: Tally) async throws {
        let (credit, taking, origin) = (self.credit, self.settle, self.from)
        // The end of the links with the connection is not a failure after all messages have arrived.
        await withDiscardingTaskGroup { group in
            do {
                for try await wish in connection.incoming {
                    switch wish {
                    case .session(let session): try await session.accept(Peer.session)
                    case .receiver(let link):
                        let receiver = try await link.accept(.init(window: .messages(credit)))
                        group.addTask {
                            try? await origin.run(connection) { try await Self.take(receiver, taking, tally) }
                        }
                    case .sender(let link):
                        link.refuse(AMQPError(scope: .link, condition: .notImplemented, detail: "this end receives"))
                    }
                }
                tally.end(Failure("the connection ended early"))
            } catch {
                tally.end(error)
            }
        }
    }

    private static func take(_ receiver: AMQPReceiver, _ taking: Taking, _ tally: Tally) async throws {
        switch taking {
        case .each:
            for try await delivery in receiver {
                try tally.read(delivery)
                delivery.accept()
                if tally.add(1) { return }
            }
        case .batch:
            while case let batch = try await receiver.nextBatch(max: 256), !batch.isEmpty {
                for delivery in batch { try tally.read(delivery) }
                batch.acceptAll()
                if tally.add(batch.count) { return }
            }
        case .workers:
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<64 {
                    group.addTask {
                        while let delivery = try await receiver.next() {
                            try tally.read(delivery)
                            // Some tasks yield, so that others finish first.
                            if delivery.payload.readableBytes % 3 == 0 { await Task.yield() }
                            delivery.accept()
                            if tally.add(1) { return }
                        }
                    }
                }
                try await group.next()
                group.cancelAll()
            }
        }
    }
}

/// The count of received messages over all links.
final class Tally: Sendable {
    private struct State {
        var start: ContinuousClock.Instant?
        var end: ContinuousClock.Instant?
        var waiter: CheckedContinuation<Void, any Error>?
        var result: Result<Void, any Error>?
    }

    private let count: Int
    private let messages = Atomic(0)
    private let bytes = Atomic(0)
    private let hasBegun = Atomic(false)
    private let state = Mutex(State())

    init(_ count: Int) {
        self.count = count
    }

    var bodyBytes: Int { self.bytes.load(ordering: .relaxed) }

    var duration: Duration {
        self.state.withLock { state in
            guard let start = state.start, let end = state.end else { return .zero }
            return end - start
        }
    }

    /// Decodes a message, and checks its property and body.
    func read(_ delivery: AMQPDelivery) throws {
        if !self.hasBegun.load(ordering: .relaxed), !self.hasBegun.exchange(true, ordering: .relaxed) {
            self.state.withLock { $0.start = .now }
        }
        let message = try delivery.decodeMessage()
        guard case .timestamp? = message.applicationProperties["sent"], let body = message.bodyBytes else {
            throw Failure("a message has no property or body")
        }
        self.bytes.add(body.readableBytes, ordering: .relaxed)
    }

    /// Counts messages. Returns whether all have arrived.
    func add(_ count: Int) -> Bool {
        guard self.messages.add(count, ordering: .relaxed).newValue >= self.count else { return false }
        self.state.withLock { if $0.end == nil { $0.end = .now } }
        self.finish(.success(()))
        return true
    }

    /// Ends the wait because no further message can arrive.
    func end(_ error: any Error) { self.finish(.failure(error)) }

    private func finish(_ result: Result<Void, any Error>) {
        let waiter = self.state.withLock { state in
            if state.result == nil { state.result = result }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(with: result)
    }

    /// Suspends until all messages have arrived.
    func done() async throws {
        try await withCheckedThrowingContinuation { continuation in
            let result = self.state.withLock { state in
                if state.result == nil { state.waiter = continuation }
                return state.result
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
