// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOEmbedded

@testable import QpidProton

#if !THREAD_SANITIZER
    import Synchronization
#endif

/// A connection whose peer sends the bytes, on one thread and with a virtual clock. Finally the socket is lost. Every
/// call must then have returned, the handler must be freed, and the budget must be unused.
final class FuzzConnection {
    enum Role { case client, server, clientWithLogin }

    /// The state that the connection's tasks share with this thread.
    private final class Work: Sendable {
        let isDone = Mutex(false)
    }

    /// More rounds after one piece of input indicate an endless loop.
    private static let mostRounds = 100_000

    private let loop = EmbeddedEventLoop()
    private let channel: EmbeddedChannel
    private let wire = Wire()
    private let handler: ConnectionHandler
    private let executor = ModelExecutor()
    private let work = Work()
    private let options: FuzzOptions
    private var written = 0

    static func run(_ bytes: UnsafeRawBufferPointer, as role: Role) throws {
        guard let first = bytes.first else { return }
        let budget = AMQPMemoryBudget(limit: .mebibytes(4))
        weak var left: ConnectionHandler?
        do {
            let connection = try FuzzConnection(FuzzOptions(byte: first), role, budget)
            left = connection.handler
            try connection.hear(UnsafeRawBufferPointer(rebasing: bytes.dropFirst()), role)
            try connection.end(received: bytes.count)
        }
        try FuzzTarget.require(left == nil, "the handler is left")
        try FuzzTarget.require(budget.used == 0, "\(budget.used) bytes are left on the budget")
        try FuzzTarget.require(budget.peak.bytes <= 8 << 20, "\(budget.peak.bytes) bytes were on a budget of 4 MiB")
    }

    private init(_ options: FuzzOptions, _ role: Role, _ budget: AMQPMemoryBudget) throws {
        self.options = options
        // Proton treats a time of 0 as "never".
        self.loop.advanceTime(by: .seconds(1))
        self.channel = EmbeddedChannel(handler: self.wire, loop: self.loop)
        let logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
        let configuration = options.connection(role, budget)
        let pipeline = self.channel.pipeline.syncOperations
        switch role {
        case .client: break
        case .server:
            let sasl = AMQPServerSASL(allowsNoSASL: !options.isStrange)
            try pipeline.addHandler(sasl.makeServerHandler(logger: logger))
        case .clientWithLogin:
            let sasl = options.isSmall ? AMQPSASL.plain(username: "user", password: "secret") : .automatic
            let handler = try sasl.makeClientHandler(
                username: nil,
                password: nil,
                hasClientCertificate: options.isStrange,
                hostname: "host",
                logger: logger
            )
            if let handler { try pipeline.addHandler(handler) }
        }
        self.handler = try ConnectionHandler(
            role: role == .server ? .server : .client,
            configuration: configuration,
            eventLoop: self.loop,
            logger: logger
        )
        try pipeline.addHandler(self.handler)
        self.start(role, configuration)
    }

    private func start(_ role: Role, _ configuration: AMQPConnection.Configuration) {
        let parts = AMQPConnection.Parts(self.handler, self.channel)
        let (work, options) = (self.work, self.options)
        Task(executorPreference: self.executor) {
            if let peer = try? await parts.opened.value() {
                let connection = AMQPConnection(parts, peer, configuration)
                await FuzzApplication(connection: connection, options: options).run(isClient: role != .server)
            }
            work.isDone.withLock { $0 = true }
        }
    }

    // MARK: Moving

    private func hear(_ bytes: UnsafeRawBufferPointer, _ role: Role) throws {
        self.channel.connect(to: try SocketAddress(unixDomainSocketPath: "/in-memory"), promise: nil)
        try self.rest()
        if self.options.isOpenBefore, role == .client {
            for piece in try FuzzDialogue.opening() { try self.hear(piece) }
        }
        for piece in self.options.pieces(bytes) {
            // The socket is not read any more, and the peer writes nothing.
            guard self.channel.isActive, !self.handler.receiving.isReadingWithheld else { return }
            try self.hear(piece)
            if self.options.timePasses {
                self.loop.advanceTime(by: .milliseconds(50))
                try self.rest()
            }
        }
    }

    private func hear(_ piece: ByteBuffer) throws {
        if self.options.isSlow { self.take() }
        self.channel.pipeline.fireChannelRead(piece)
        self.channel.pipeline.fireChannelReadComplete()
        try self.rest()
    }

    /// Runs the loop and the tasks until nothing moves.
    private func rest() throws {
        for _ in 0..<Self.mostRounds {
            self.executor.drain()
            self.loop.run()
            let hasTaken = !self.options.isSlow && self.take()
            if self.executor.isEmpty, !hasTaken { return }
        }
        throw ModelFailure("the work for a piece of the stream does not end")
    }

    @discardableResult
    private func take() -> Bool {
        guard let bytes = self.wire.take(.max) else { return false }
        self.written += bytes.readableBytes
        return true
    }

    // MARK: The end

    private func end(received: Int) throws {
        if self.options.timePasses {
            // The time exceeds all deadlines together.
            for _ in 0..<10 {
                self.loop.advanceTime(by: .seconds(1))
                self.take()
                try self.rest()
            }
        }
        self.wire.failAll()
        self.channel.close(promise: nil)
        try self.rest()
        try FuzzTarget.require(self.work.isDone.withLock { $0 }, "a call has not returned although the socket is lost")
        // The limit covers frames that the connection sends by itself, and its answers.
        let limit = 1 << 20 + received * 256
        try FuzzTarget.require(self.written <= limit, "\(self.written) bytes were written in answer to \(received)")
    }
}
