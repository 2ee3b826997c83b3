// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Opens a connection to an in-memory peer, runs a test on it, and closes it.
///
/// After the test nothing may remain: the handler must be freed, and the engine with it.
func withPeer(
    role: ConnectionHandler.Role = .client,
    configuration: AMQPConnection.Configuration = .init(),
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    _ script: @Sendable () -> PeerScript = { PeerScript() },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (AMQPConnection, InMemoryPeer) async throws -> Void
) async throws {
    weak var handler: ConnectionHandler?
    do {
        let peer = try await InMemoryPeer(
            role: role,
            configuration: configuration,
            script: script(),
            logger: logger
        )
        handler = peer.handler
        do {
            let parts = AMQPConnection.Parts(peer.handler, peer.channel)
            let connection = AMQPConnection(parts, try await parts.opened.value(), configuration)
            try await body(connection, peer)
        } catch {
            await peer.finish()
            throw error
        }
        await peer.finish()
    }
    try await eventually("the handler goes", sourceLocation: sourceLocation) { handler == nil }
}

/// Runs a test as ``withPeer(role:configuration:logger:_:sourceLocation:_:)`` does, with one session begun.
func withSession(
    configuration: AMQPConnection.Configuration = .init(),
    session: AMQPSession.Configuration = .init(),
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    _ script: @Sendable () -> PeerScript = { PeerScript() },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (AMQPSession, InMemoryPeer) async throws -> Void
) async throws {
    try await withPeer(configuration: configuration, logger: logger, script, sourceLocation: sourceLocation) {
        connection,
        peer in
        try await body(try await connection.openSession(session), peer)
    }
}

/// Runs a test with a receiver at a broker whose ids and counts begin just before 2³², like RabbitMQ 4.
func withWrappingBroker(
    handle: UInt32,
    window: AMQPReceiver.Window,
    _ body: (AMQPSession, AMQPReceiver, InMemoryPeer) async throws -> Void
) async throws {
    try await withPeer({ .answeredByHand }) { connection, peer in
        let opening = begin { try await connection.openSession(.init(incomingCapacity: .kibibytes(1_024))) }
        await peer.settle()
        try await peer.run {
            try $0.inject(Frame(.begin, [.ushort(0), .uint(0xFFFF_FFFC), .uint(5_000), .uint(5_000)]))
        }
        let session = try await opening.value
        let attaching = begin { try await session.openReceiver(from: "q", window: window) }
        await peer.settle()
        let attach = try #require(try await peer.framesOfLibrary().last { $0.code == .attach })
        let fields: [AMQPValue] = [
            attach.field(0), .uint(handle), .bool(false), .null, .null,
            .described(0x28, .list([.string("q")])), .described(0x29, .list([])), .null, .null, .uint(0xFFFF_FFFB),
        ]
        try await peer.run { try $0.inject(Frame(.attach, fields)) }
        try await body(session, try await attaching.value, peer)
    }
}

/// Expects an error of this library, and returns it.
@discardableResult
func expectError<Value>(
    _ condition: AMQPCondition,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Value
) async -> AMQPError? {
    do {
        _ = try await body()
        Issue.record("no error where \(condition) was expected", sourceLocation: sourceLocation)
    } catch let error as AMQPError {
        #expect(error.condition == condition, "\(error)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("an error of another type: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

/// Returns a message whose encoding has exactly `count` bytes.
func payload(_ count: Int, fill: UInt8 = 0x41) -> ByteBuffer {
    ByteBuffer(repeating: fill, count: count)
}
