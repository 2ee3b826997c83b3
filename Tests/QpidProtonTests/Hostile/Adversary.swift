// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// A peer with handwritten frames: the test creates every byte that the library receives, and reads its answers.
struct Adversary: Sendable {
    let peer: InMemoryPeer
    // MARK: Sending

    func send(_ frames: Frame...) async throws { try await self.send(frames) }

    func send(_ frames: [Frame]) async throws {
        var bytes = ByteBuffer()
        for frame in frames {
            var encoded = try frame.encoded()
            bytes.writeBuffer(&encoded)
        }
        try await self.send(bytes)
    }

    func send(_ bytes: ByteBuffer) async throws {
        try await self.peer.run { $0.inject(bytes) }
    }

    /// Answers the library's `begin`, which has channel 0, and grants a window.
    func session(_ connection: AMQPConnection, _ configuration: AMQPSession.Configuration = .init()) async throws
        -> AMQPSession
    {
        let opening = begin { try await connection.openSession(configuration) }
        await self.peer.settle()
        let begin = try #require(try await self.frames(.begin).last)
        try await self.send(.begin(channel: begin.channel, answering: begin.channel))
        return try await opening.value
    }

    /// Answers the library's `attach` of a receiver on the handle that the library chose.
    func receiver(_ session: AMQPSession, _ configuration: AMQPReceiver.Configuration) async throws -> AMQPReceiver {
        let opening = begin { try await session.openReceiver(configuration) }
        try await self.answerAttach()
        return try await opening.value
    }

    /// Answers the library's `attach` of a sender on the handle that the library chose.
    func sender(_ session: AMQPSession, _ configuration: AMQPSender.Configuration) async throws -> AMQPSender {
        let opening = begin { try await session.openSender(configuration) }
        try await self.answerAttach()
        return try await opening.value
    }

    private func answerAttach() async throws {
        await self.peer.settle()
        let attach = try #require(try await self.frames(.attach).last)
        guard case .uint(let handle) = attach.field(1), case .bool(let isReceiver) = attach.field(2) else {
            throw Unexpected(what: "an attach without a handle")
        }
        try await self.send(
            .attach(attach.field(0), handle: handle, isReceiver: !isReceiver, channel: attach.channel)
        )
    }

    // MARK: Receiving

    func frames(_ code: Frame.Code) async throws -> [Frame] {
        try await self.peer.framesOfLibrary().filter { $0.code == code }
    }

    /// Whether the library has closed the socket.
    var isCut: Bool {
        get async throws { try await self.peer.run { $0.wire.isClosed } }
    }

    /// The condition and the text of the last `close`, `end` or `detach` from the library; `nil` if there was none.
    func error(in code: Frame.Code) async throws -> (condition: AMQPCondition, text: String)? {
        guard let frame = try await self.frames(code).last,
            case .described(let error) = frame.field(code == .detach ? 2 : 0), let fields = error.value.listValue,
            case .symbol(let condition)? = fields.first
        else { return nil }
        let text = fields.count > 1 ? fields[1].stringValue ?? "" : ""
        return (AMQPCondition(rawValue: condition.rawValue), text)
    }

    /// Expects that the peer receives a `close` with this condition, the socket closes, and the user's connection has
    /// the same error.
    func expectClose(
        _ condition: AMQPCondition,
        _ text: String,
        _ connection: AMQPConnection,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let close = try await self.error(in: .close)
        #expect(close?.condition == condition, "\(String(describing: close))", sourceLocation: sourceLocation)
        #expect(close?.text.contains(text) == true, "\(String(describing: close))", sourceLocation: sourceLocation)
        #expect(try await self.isCut, sourceLocation: sourceLocation)
        let error = try #require(connection.error, sourceLocation: sourceLocation)
        #expect(
            error.scope == .connection && error.condition == condition && error.detail.contains(text)
                && error.origin == .local,
            "\(error)",
            sourceLocation: sourceLocation
        )
    }
}

/// Opens a connection to an adversary, runs a test on it, and cuts it. No resource may be left behind.
///
/// - Parameter role: The role of the library. A listener's connection accepts sessions and links.
func withAdversary(
    _ role: ConnectionHandler.Role,
    open: Frame = .open(),
    _ configure: (inout AMQPConnection.Configuration) -> Void = { _ in },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (AMQPConnection, Adversary) async throws -> Void
) async throws {
    var configuration = AMQPConnection.Configuration()
    configuration.acceptsIncoming = role == .server
    configure(&configuration)
    weak var handler: ConnectionHandler?
    do {
        let peer = try await InMemoryPeer(role: role, configuration: configuration, script: .mute)
        try await peer.run { $0.isDeaf = true }
        handler = peer.handler
        do {
            let adversary = Adversary(peer: peer)
            var greeting = ByteBuffer(string: "AMQP")
            greeting.writeBytes([0, 1, 0, 0])
            try await adversary.send(greeting)
            let parts = AMQPConnection.Parts(peer.handler, peer.channel)
            try await adversary.send(open)
            let connection = AMQPConnection(parts, try await parts.opened.value(), configuration)
            try await body(connection, adversary)
        } catch {
            await peer.finish()
            throw error
        }
        await peer.finish()
    }
    try await eventually("the handler goes", sourceLocation: sourceLocation) { handler == nil }
}

extension AMQPConnection {
    /// Accepts the peer's next session and link, as a receiver of this side.
    func acceptReceiver(
        _ configuration: AMQPReceiver.Configuration? = nil,
        session settings: AMQPSession.Configuration = .init()
    ) async throws -> AMQPReceiver {
        let incoming = self.incoming.makeAsyncIterator()
        while true {
            switch try await incoming.next(isolation: nil) {
            case .session(let session): try await session.accept(settings)
            case .receiver(let wish): return try await wish.accept(configuration)
            case .sender, nil: throw Unexpected(what: "no sender of the peer")
            }
        }
    }

    /// Accepts the peer's next link, as a sender of this side.
    func acceptSender(_ configuration: AMQPSender.Configuration? = nil) async throws -> AMQPSender {
        let incoming = self.incoming.makeAsyncIterator()
        while true {
            switch try await incoming.next(isolation: nil) {
            case .session(let session): try await session.accept()
            case .sender(let wish): return try await wish.accept(configuration)
            case .receiver, nil: throw Unexpected(what: "no receiver of the peer")
            }
        }
    }
}

/// Both roles of the library: a client of a hostile server, and a listener with a hostile client.
let bothRoles: [ConnectionHandler.Role] = [.client, .server]

/// Opens a session on channel 0 with receivers of the library. The adversary has the senders on the handles from 0 on.
func withReceivers(
    _ role: ConnectionHandler.Role,
    _ count: Int = 2,
    _ receiving: AMQPReceiver.Configuration = .init(window: .messages(4)),
    session configuration: AMQPSession.Configuration = .init(),
    _ configure: (inout AMQPConnection.Configuration) -> Void = { _ in },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: ([AMQPReceiver], AMQPConnection, Adversary) async throws -> Void
) async throws {
    try await withAdversary(role, configure, sourceLocation: sourceLocation) { connection, adversary in
        var receivers: [AMQPReceiver] = []
        if role == .client {
            let session = try await adversary.session(connection, configuration)
            for _ in 0..<count { receivers.append(try await adversary.receiver(session, receiving)) }
        } else {
            try await adversary.send(.begin())
            for handle in 0..<UInt32(count) {
                try await adversary.send(.attach(.string("link \(handle)"), handle: handle, isReceiver: false))
                receivers.append(try await connection.acceptReceiver(receiving, session: configuration))
            }
        }
        await adversary.peer.settle()
        try await body(receivers, connection, adversary)
    }
}

/// Opens a session on channel 0 with senders of the library. The adversary has the receivers on the handles from 0 on.
func withSenders(
    _ role: ConnectionHandler.Role,
    _ count: Int = 2,
    credit: UInt32 = 100,
    _ sending: AMQPSender.Configuration = .init(target: "q"),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: ([AMQPSender], AMQPConnection, Adversary) async throws -> Void
) async throws {
    try await withAdversary(role, sourceLocation: sourceLocation) { connection, adversary in
        var senders: [AMQPSender] = []
        if role == .client {
            let session = try await adversary.session(connection)
            for _ in 0..<count { senders.append(try await adversary.sender(session, sending)) }
        } else {
            try await adversary.send(.begin())
            for handle in 0..<UInt32(count) {
                try await adversary.send(.attach(.string("link \(handle)"), handle: handle, isReceiver: true))
                senders.append(try await connection.acceptSender(sending))
            }
        }
        for handle in 0..<UInt32(count) where credit > 0 {
            try await adversary.send(.flow(handle: handle, deliveryCount: 0, credit: credit))
        }
        try await body(senders, connection, adversary)
    }
}

/// Bytes that no peer should send, the condition of the resulting `close`, and a part of its text.
struct HostileBytes: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    let condition: AMQPCondition
    let text: String

    init(_ name: String, _ bytes: [UInt8], _ condition: AMQPCondition, _ text: String) {
        self.testDescription = name
        self.bytes = bytes
        self.condition = condition
        self.text = text
    }

    init(_ name: String, _ frames: [Frame], _ condition: AMQPCondition, _ text: String) {
        let bytes = frames.flatMap { frame in (try? frame.encoded()).map { Array($0.readableBytesView) } ?? [] }
        self.init(name, bytes, condition, text)
    }
}

extension AMQPReceiver {
    /// Returns the next message, which must arrive within the deadline.
    func nextInTime() async throws -> AMQPDelivery {
        let delivery = try await begin { try await self.next() }.value
        return try #require(delivery)
    }
}
