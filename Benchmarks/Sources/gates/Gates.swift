// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CodecMessages
import NIOCore
import QpidProton

// The main function is not asynchronous, because the main thread would then end in a system call that crashes valgrind
// 3.19.
@main
struct Gates: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gates",
        abstract: "Processes messages in memory, always in the same steps, for the counts of ./dev/gates."
    )

    /// The counted work.
    enum Case: String, CaseIterable, ExpressibleByArgument {
        /// Sends each message and awaits its settlement.
        case sendEach = "send-each"
        /// Enqueues 64 messages at a time, and reads their outcomes in between.
        case sendEnqueue = "send-enqueue"
        /// The same for messages that are sent settled.
        case sendSettled = "send-settled"
        case sendTry = "send-try"
        case sendBatch = "send-batch"
        /// Enqueues messages on 64 links in turn.
        case sendLinks = "send-links"
        /// Enqueues messages with bodies of 10 KiB.
        case sendLarge = "send-large"
        /// Streams messages of 64 pieces of 10 KiB; the gate counts pieces.
        case sendStream = "send-stream"
        /// Receives, decodes and accepts messages one by one.
        case receiveEach = "receive-each"
        /// The same, with each message sent when the previous one is settled.
        case receiveAlone = "receive-alone"
        case receiveBatch = "receive-batch"
        /// Receives messages one by one from 64 links, each in its own task.
        case receiveLinks = "receive-links"
        /// Receives messages with bodies of 10 KiB in batches.
        case receiveLarge = "receive-large"
        /// Receives streamed messages of 64 transfers of 10 KiB; the gate counts transfers.
        case receiveStream = "receive-stream"
        /// Opens and closes a connection with a session.
        case connect
        case encodeMessage = "encode-message"
        case decodeMessage = "decode-message"
        /// Decodes the message and reads every value.
        case readMessage = "read-message"
        case encodeMap = "encode-map"
        case decodeMap = "decode-map"
        case readMap = "read-map"
    }

    @Argument var subject: Case
    @Option(help: "A multiple of 64.") var count: Int

    mutating func validate() throws {
        guard self.count > 0, self.count.isMultiple(of: 64) else {
            throw ValidationError("--count takes a multiple of 64")
        }
    }

    func run() throws {
        let count = self.count
        switch self.subject {
        case .sendEach: try Self.send { try await $0.each(count) }
        case .sendEnqueue: try Self.send { try await $0.enqueue(count) }
        case .sendSettled: try Self.send(isSettled: true) { try await $0.enqueue(count) }
        case .sendTry: try Self.send { try await $0.trySend(count) }
        case .sendBatch: try Self.send { try await $0.batches(count) }
        case .sendLinks: try Self.send(links: Self.links) { try await $0.enqueue(count) }
        case .sendLarge: try Self.send(size: 10_240) { try await $0.enqueue(count) }
        case .sendStream: try Self.send(size: 10_240) { try await $0.stream(count) }
        case .receiveEach: try self.receive { try await GateReceiver.each($0[0], count) }
        case .receiveAlone: try self.receive(isAlone: true) { try await GateReceiver.each($0[0], count) }
        case .receiveBatch: try self.receive { try await GateReceiver.batches($0[0], count) }
        case .receiveLinks: try self.receive(links: Self.links) { try await GateReceiver.each($0, count) }
        case .receiveLarge: try self.receive(size: 10_240) { try await GateReceiver.batches($0[0], count) }
        case .receiveStream: try self.receiveStream()
        case .connect: for _ in 0..<count { try InMemory.run(ScriptedPeer()) { _ in } }
        case .encodeMessage: try Self.encode(CodecMessages.message, count)
        case .decodeMessage: try Self.decode(CodecMessages.message, count)
        case .readMessage: try Self.read(CodecMessages.message, count)
        case .encodeMap: try Self.encode(CodecMessages.map, count)
        case .decodeMap: try Self.decode(CodecMessages.map, count)
        case .readMap: try Self.read(CodecMessages.map, count)
        }
    }

    private static let links = 64

    private static func send(
        isSettled: Bool = false,
        size: Int = 100,
        links: Int = 1,
        _ body: @escaping @Sendable (inout GateSender) async throws -> Void
    ) throws {
        try InMemory.run(ScriptedPeer(isSettled: isSettled, links: links)) { session in
            var configuration = AMQPSender.Configuration(target: "gate")
            configuration.settleMode = isSettled ? .settled : .unsettled
            var senders: [AMQPSender] = []
            for _ in 0..<links { senders.append(try await session.openSender(configuration)) }
            var sender = GateSender(senders, size: size, isSettled: isSettled)
            try await body(&sender)
        }
    }

    private func receive(
        size: Int = 100,
        links: Int = 1,
        isAlone: Bool = false,
        _ body: @escaping @Sendable ([AMQPReceiver]) async throws -> Void
    ) throws {
        let message = try GateSender.message(size).encoded()
        let peer = ScriptedPeer(count: self.count, message: message, links: links, isAlone: isAlone)
        try InMemory.run(peer) { session in
            var receivers: [AMQPReceiver] = []
            for _ in 0..<links {
                receivers.append(try await session.openReceiver(from: "gate", window: .messages(1_000)))
            }
            try await body(receivers)
        }
        guard peer.settled == self.count else { throw Failure("\(peer.settled) of \(self.count) were settled") }
    }

    private func receiveStream() throws {
        let (count, size) = (self.count, 10_240)
        let piece = AMQPMessage(body: ByteBuffer(repeating: UInt8(ascii: "x"), count: size))
        let peer = ScriptedPeer(count: count, message: try piece.encoded(), isStream: true)
        try InMemory.run(peer) { session in
            var configuration = AMQPReceiver.Configuration(source: "gate")
            configuration.window = .messages(1_000)
            configuration.streamsMessages = true
            try await GateReceiver.stream(session.openReceiver(configuration), count, size)
        }
        guard peer.settled == count / 64 else { throw Failure("\(peer.settled) of \(count / 64) were settled") }
    }

    private static func encode(_ message: AMQPMessage, _ count: Int) throws {
        var buffer = ByteBuffer()
        for _ in 0..<count {
            buffer.clear()
            try message.encode(into: &buffer)
        }
    }

    private static func decode(_ message: AMQPMessage, _ count: Int) throws {
        let buffer = try message.encoded()
        for _ in 0..<count { _ = try AMQPMessage(decoding: buffer) }
    }

    private static func read(_ message: AMQPMessage, _ count: Int) throws {
        let buffer = try message.encoded()
        var read = 0
        for _ in 0..<count { read += try CodecMessages.read(AMQPMessage(decoding: buffer)) ?? 0 }
        guard read > 0 else { throw Failure("nothing was read") }
    }
}

/// A failure with a one-line text.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ text: String) {
        self.description = text
    }
}
