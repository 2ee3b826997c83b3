// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import QpidProton

/// Replaces the AMQP handler, and records the events and bytes that it receives.
final class SASLRecorder: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    struct State {
        /// The names of the events in the order of their arrival.
        var events: [String] = []
        var identity: AMQPAuthenticatedIdentity?
        var bytes: [UInt8] = []
        var errors: [AMQPError] = []
    }

    private let stored = Mutex(State())
    var state: State { self.stored.withLock { $0 } }

    private func note(_ event: String, _ change: (inout State) -> Void = { _ in }) {
        self.stored.withLock {
            $0.events.append(event)
            change(&$0)
        }
    }

    func channelActive(context: ChannelHandlerContext) { self.note("active") }
    func channelInactive(context: ChannelHandlerContext) { self.note("inactive") }
    func channelReadComplete(context: ChannelHandlerContext) { self.note("readComplete") }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.note("read") { $0.bytes += bytes.readableBytesView }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let completed = event as? SASLCompleted else { return }
        self.note("completed") { $0.identity = completed.identity }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.note("error") { state in
            state.errors.append(
                error as? AMQPError ?? AMQPError(condition: .internalError, detail: "not translated: \(error)")
            )
        }
    }
}

/// A SASL handler on a channel in memory, with a recorder behind it.
struct SASLTestPeer: Sendable {
    let channel: NIOAsyncTestingChannel
    let recorder: SASLRecorder
    private let closing: Closing

    /// Closes the channel when the last copy of the peer is released, because a channel and its pipeline retain each
    /// other until then.
    private final class Closing: Sendable {
        let channel: NIOAsyncTestingChannel

        init(_ channel: NIOAsyncTestingChannel) {
            self.channel = channel
        }

        deinit {
            // Another task closes the channel, because the loop runs its remaining work only with the next task from
            // elsewhere.
            Task { [channel] in channel.close(promise: nil) }
        }
    }

    var state: SASLRecorder.State { self.recorder.state }

    static let local = SASLTransportSecurity(isEncrypted: false, isLocal: true)
    static let remote = SASLTransportSecurity(isEncrypted: false, isLocal: false)
    static let encrypted = SASLTransportSecurity(isEncrypted: true, isLocal: false)

    private init<Machine: SASLMachine & Sendable>(
        _ machine: Machine,
        _ maxFrameSize: Int,
        _ security: SASLTransportSecurity,
        _ logger: Logger
    ) async throws {
        let recorder = SASLRecorder()
        self.recorder = recorder
        self.channel = try await NIOAsyncTestingChannel { channel in
            let handler = SASLHandler(machine: machine, maxFrameSize: maxFrameSize, logger: logger) { _ in security }
            try channel.pipeline.syncOperations.addHandlers([handler, recorder])
        }
        self.closing = Closing(self.channel)
        try await self.channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 5672)).get()
    }

    /// Returns a connected client that has sent its header.
    static func client(
        _ mechanisms: [any SASLClientMechanism],
        security: SASLTransportSecurity = Self.local,
        allowsPlainWithoutTLS: Bool = false,
        maxFrameSize: Int = 65_536,
        logger: Logger = Logger(label: "test")
    ) async throws -> Self {
        let machine = SASLClientMachine(
            candidates: mechanisms,
            hostname: "example.com",
            allowsPlainWithoutTLS: allowsPlainWithoutTLS
        )
        return try await Self(machine, maxFrameSize, security, logger)
    }

    static func server(
        _ configuration: AMQPServerSASL,
        security: SASLTransportSecurity = Self.local,
        logger: Logger = Logger(label: "test")
    ) async throws -> Self {
        try await Self(
            SASLServerMachine(configuration: configuration),
            configuration.maxFrameSize.bytes,
            security,
            logger
        )
    }

    /// Delivers bytes, unless the channel is closed.
    func deliver(_ bytes: some Sequence<UInt8>) async throws {
        guard self.channel.isActive else { return }
        try await self.channel.writeInbound(ByteBuffer(bytes: bytes))
    }

    func deliver(_ frames: SASLFrame...) async throws {
        try await self.deliver(Self.bytes(frames))
    }

    static func bytes(_ frames: [SASLFrame]) -> [UInt8] {
        var buffer = ByteBuffer()
        for frame in frames { frame.write(into: &buffer) }
        return Array(buffer.readableBytesView)
    }

    /// Returns everything that was sent since the last call.
    func sent() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let buffer = try await self.channel.readOutbound(as: ByteBuffer.self) {
            bytes += buffer.readableBytesView
        }
        return bytes
    }

    /// Returns the frames that were sent since the last call; with `header`, those after the protocol header.
    func sentFrames(header: Bool = false) async throws -> [SASLFrame] {
        var bytes = try await self.sent()[...]
        if header {
            #expect(bytes.prefix(8).elementsEqual(ProtocolHeader.saslBytes))
            bytes = bytes.dropFirst(8)
        }
        var reader = SASLReader(maxFrameSize: 65_536)
        var buffer = ByteBuffer(bytes: bytes)
        reader.append(&buffer)
        var frames: [SASLFrame] = []
        while let frame = try reader.nextFrame() { frames.append(frame) }
        #expect(reader.count == 0)
        return frames
    }

    /// Ends the input as a closed socket does.
    func endOfInput() async throws {
        try await self.channel.testingEventLoop.perform { self.channel.pipeline.fireChannelInactive() }
    }

    /// Waits until a condition holds, with a deadline far beyond the expected time.
    func wait(_ condition: (SASLRecorder.State) -> Bool) async throws {
        let deadline = ContinuousClock.now + patience
        while !condition(self.state) {
            try #require(ContinuousClock.now < deadline, "not reached: \(self.state.events) \(self.state.errors)")
            await self.channel.testingEventLoop.run()
            await Task.yield()
        }
        // The event that fulfilled the condition may still be in progress.
        await self.channel.testingEventLoop.run()
    }

    /// Exchanges bytes between two peers until a condition holds, in chunks of at most `chunk` bytes.
    static func exchange(
        _ client: NIOAsyncTestingChannel,
        _ server: NIOAsyncTestingChannel,
        chunk: Int = .max,
        until condition: () -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + patience
        while !condition() {
            try #require(ContinuousClock.now < deadline)
            for (from, to) in [(client, server), (server, client)] {
                while var bytes = try await from.readOutbound(as: ByteBuffer.self) {
                    while to.isActive, let part = bytes.readSlice(length: min(chunk, bytes.readableBytes)),
                        part.readableBytes > 0
                    {
                        try await to.writeInbound(part)
                    }
                }
                await to.testingEventLoop.run()
            }
            await Task.yield()
        }
        for channel in [client, server] { await channel.testingEventLoop.run() }
    }
}
