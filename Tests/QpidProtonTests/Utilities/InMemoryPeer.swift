// SPDX-License-Identifier: Apache-2.0

import CProton
import Foundation
import Logging
import NIOCore
import NIOEmbedded
import TestSupport

@testable import QpidProton

/// A second Proton engine as the in-memory peer of one connection. The test controls every byte between them.
///
/// By default each side receives the other side's bytes at once. ``toPeer`` and ``toLibrary`` hold bytes back.
// Sendable because all mutable state is used on the channel's event loop only, see `run(_:)`.
final class InMemoryPeer: @unchecked Sendable {
    /// One direction, and the number of bytes that may pass in it.
    struct Direction {
        /// The number of bytes that may still pass; `nil` for no limit.
        var allowance: Int?
        /// The most bytes that pass in one piece; `nil` for no limit.
        var piece: Int?
        /// All bytes that have passed.
        var record = ByteBuffer()
        var isRecorded = true

        var limit: Int { min(self.allowance ?? .max, self.piece ?? .max) }

        mutating func pass(_ bytes: ByteBuffer) {
            if self.isRecorded { self.record.writeImmutableBuffer(bytes) }
            if let allowance = self.allowance { self.allowance = allowance - bytes.readableBytes }
        }
    }

    /// A message that the peer has received.
    struct Received: Sendable, Equatable {
        var link: String
        var tag: [UInt8]
        var bytes: ByteBuffer
        var isSettled: Bool
        var isAborted = false
    }

    let channel: NIOAsyncTestingChannel
    var loop: NIOAsyncTestingEventLoop { self.channel.testingEventLoop }
    let wire: Wire
    let handler: ConnectionHandler
    let driver: UnsafeMutablePointer<pn_connection_driver_t>
    /// Whether Proton's flows of ended links and sessions are removed: see ``FrameFilter``.
    var cleansFrames = false
    /// The filtered bytes that have not passed yet.
    private var cleaned = ByteBuffer()
    private var isTurning = false
    private var isReadClosed = false

    var script: PeerScript
    /// Whether the peer's Proton receives nothing, so that only the test sends.
    var isDeaf = false
    var toPeer = Direction()
    var toLibrary = Direction()
    /// The peer's sessions and links in the order of their opening.
    var sessions: [OpaquePointer] = []
    var links: [OpaquePointer] = []
    var received: [Received] = []
    /// The bytes of partly received messages, by link.
    var partial: [OpaquePointer: ByteBuffer] = [:]
    /// The received deliveries that are unsettled because the script settles none.
    var unsettled: [OpaquePointer] = []
    /// The states that the library set for the peer's deliveries, if the script records them.
    var outcomes: [UInt64] = []
    var events: [pn_event_type_t] = []
    var nextTag: UInt64 = 0
    /// Whether the peer is between two messages.
    var isBetweenMessages = true

    var connection: OpaquePointer { self.driver.pointee.connection }
    var transport: OpaquePointer { self.driver.pointee.transport }

    init(
        role: ConnectionHandler.Role = .client,
        configuration: AMQPConnection.Configuration = .init(),
        script: PeerScript = .init(),
        confirmsByWritability: Bool = true,
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) async throws {
        let loop = NIOAsyncTestingEventLoop()
        // Proton treats a time of 0 as "never".
        await loop.advanceTime(by: .seconds(1))
        let wire = NIOLoopBoundBox<Wire?>.makeEmptyBox(valueType: Wire.self, eventLoop: loop)
        let library = NIOLoopBoundBox<ConnectionHandler?>.makeEmptyBox(
            valueType: ConnectionHandler.self,
            eventLoop: loop
        )
        self.channel = try await NIOAsyncTestingChannel(loop: loop) { channel in
            let handler = try ConnectionHandler(
                role: role,
                configuration: configuration,
                eventLoop: channel.eventLoop,
                logger: logger,
                confirmsByWritability: confirmsByWritability
            )
            wire.value = Wire()
            library.value = handler
            if let value = wire.value { try channel.pipeline.syncOperations.addHandler(value) }
            try channel.pipeline.syncOperations.addHandler(handler)
        }
        self.script = script
        self.driver = .allocate(capacity: 1)
        pn_connection_driver_init(self.driver, nil, nil)
        let parts = try await loop.perform { Unchecked((wire.value, library.value)) }.value
        guard let newWire = parts.0, let handler = parts.1 else { throw CancellationError() }
        self.wire = newWire
        self.handler = handler
        try await self.start(isServer: role == .client)
    }

    deinit {
        pn_connection_driver_destroy(self.driver)
        self.driver.deallocate()
    }

    private func start(isServer: Bool) async throws {
        // No byte may move before the channel is active.
        let peer = self
        try await self.loop.perform {
            let logger = pn_transport_logger(peer.transport)
            // With `PN_TRACE_FRM=1` Proton prints the frames of the peer.
            if ProcessInfo.processInfo.environment["PN_TRACE_FRM"] == nil {
                pn_logger_set_log_sink(logger, { _, _, _, _ in }, 0)
            }
            if isServer { pn_transport_set_server(peer.transport) }
            if let size = peer.script.maxFrameSize { pn_transport_set_max_frame(peer.transport, size) }
            if let channels = peer.script.channelMax { pn_transport_set_channel_max(peer.transport, channels) }
            if let idle = peer.script.idleTimeout { pn_transport_set_idle_timeout(peer.transport, idle) }
            pn_connection_set_container(peer.connection, "peer")
            peer.script.beforeOpen(peer)
            pn_connection_driver_bind(peer.driver)
            if !isServer, peer.script.opensConnection { pn_connection_open(peer.connection) }
            peer.wire.onFlush = { [weak peer] in peer?.turnSoon() }
        }
        try await self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/in-memory")).get()
        await self.settle()
    }

    // MARK: Running

    /// Runs `body` on the loop, and then everything that follows from it.
    @discardableResult
    func run<Value: Sendable>(_ body: @escaping @Sendable (InMemoryPeer) throws -> Value) async throws -> Value {
        let value = try await self.loop.perform {
            let value = try body(self)
            self.turn()
            return value
        }
        await self.loop.run()
        return value
    }

    /// Waits until no byte moves between the two sides.
    func settle() async {
        try? await self.run { _ in }
    }

    /// Moves the clock of both sides, in steps that let each timer take effect.
    func advance(by duration: TimeAmount, steps: Int = 10) async {
        for _ in 0..<steps {
            await self.loop.advanceTime(by: .nanoseconds(duration.nanoseconds / Int64(steps)))
            await self.settle()
        }
    }

    private func turnSoon() {
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.execute { bound.value.turn() }
    }

    /// Moves bytes in both directions until none are left.
    func turn() {
        guard !self.isTurning else { return }
        self.isTurning = true
        defer { self.isTurning = false }
        var hasMoved = true
        while hasMoved {
            hasMoved = self.read()
            self.processEvents()
            if self.deliver() { hasMoved = true }
        }
        if self.wire.isClosed { self.closeRead() }
    }

    private func read() -> Bool {
        guard self.toPeer.limit > 0, let bytes = self.wire.take(self.toPeer.limit) else { return false }
        self.toPeer.pass(bytes)
        if !self.isDeaf { bytes.withUnsafeReadableBytes { self.feed($0) } }
        return true
    }

    private func feed(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let room = pn_connection_driver_read_buffer(self.driver)
            guard room.size > 0, let start = room.start else { return }
            let count = min(Int(room.size), rest.count)
            UnsafeMutableRawBufferPointer(start: start, count: count)
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest.prefix(count)))
            pn_connection_driver_read_done(self.driver, count)
            rest = rest.dropFirst(count)
            self.processEvents()
        }
    }

    private func deliver() -> Bool {
        var hasMoved = false
        // A withheld read leaves the bytes in the socket.
        while self.toLibrary.limit > 0, !self.handler.receiving.isReadingWithheld {
            guard let piece = self.cleansFrames ? self.takeCleaned() : self.take(self.toLibrary.limit) else { break }
            self.toLibrary.pass(piece)
            self.inject(piece)
            hasMoved = true
        }
        return hasMoved
    }

    private func take(_ limit: Int) -> ByteBuffer? {
        let bytes = pn_connection_driver_write_buffer(self.driver)
        guard bytes.size > 0, let start = bytes.start else { return nil }
        let count = min(Int(bytes.size), limit)
        defer { pn_connection_driver_write_done(self.driver, count) }
        return ByteBuffer(bytes: UnsafeRawBufferPointer(start: start, count: count))
    }

    private func takeCleaned() -> ByteBuffer? {
        if self.cleaned.readableBytes == 0 {
            var frames = ByteBuffer()
            while let bytes = self.take(.max) { frames.writeImmutableBuffer(bytes) }
            self.cleaned = FrameFilter.clean(frames)
        }
        let count = min(self.cleaned.readableBytes, self.toLibrary.limit)
        return count > 0 ? self.cleaned.readSlice(length: count) : nil
    }

    /// Passes bytes to the library that Proton need not have written.
    func inject(_ bytes: ByteBuffer) {
        self.channel.pipeline.fireChannelRead(bytes)
        self.channel.pipeline.fireChannelReadComplete()
    }

    func inject(_ frame: Frame) throws {
        self.inject(try frame.encoded())
    }

    private func closeRead() {
        guard !self.isReadClosed else { return }
        self.isReadClosed = true
        pn_connection_driver_read_close(self.driver)
        self.processEvents()
    }

    private func processEvents() {
        while let event = pn_connection_driver_next_event(self.driver) { self.script.handle(self, event) }
    }

    // MARK: Observing

    /// Returns the library's frames that have reached the peer.
    func framesOfLibrary() async throws -> [Frame] {
        Frame.parse(try await self.run { $0.toPeer.record })
    }

    func count(_ code: Frame.Code) async throws -> Int {
        try await self.framesOfLibrary().count { $0.code == code }
    }

    /// Settles the peer's received but unsettled deliveries.
    func settleAll(_ state: Int32) {
        for delivery in self.unsettled {
            pn_delivery_update(delivery, UInt64(state))
            pn_delivery_settle(delivery)
        }
        self.unsettled = []
    }

    /// Drops the socket, as a broken network does.
    func loseConnection() async throws {
        try await self.run { peer in
            peer.wire.failAll()
            peer.channel.close(promise: nil)
        }
    }

    /// Ends a test, and closes the channel if it is still open.
    func finish() async {
        _ = try? await self.channel.finish(acceptAlreadyClosed: true)
    }
}

/// Carries a value over a boundary where the compiler cannot see that one side has released it.
// Sendable because the loop creates it, and the task that waits for it opens it once.
struct Unchecked<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
