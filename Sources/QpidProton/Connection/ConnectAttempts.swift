// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Synchronization

/// The attempts of one connect call, one per address of the host, and the connection of the address that answered
/// first.
///
/// NIO opens a socket for each address (RFC 8305). Each socket has only a ``ConnectAttempt`` until its address has won.
/// A losing attempt therefore has no connection handler, no engine and no share of a budget.
final class ConnectAttempts: Sendable {
    private struct Attempt {
        let address: SocketAddress
        let channel: any Channel
        var cause: String?
    }

    private struct State {
        var attempts: [Attempt] = []
        var isOver = false
    }

    /// The parts of the new connection, or the error.
    let connected = Reply<AMQPConnection.Parts>()
    private let place: String
    private let host: String
    private let timeout: Duration
    private let state = Mutex(State())

    /// - Parameters:
    ///   - host: The host of the URL.
    ///   - port: The port of the URL.
    ///   - timeout: How long all attempts together may take.
    init(host: String, port: Int, timeout: Duration) {
        self.host = host
        self.place = NetworkError.place(host, port)
        self.timeout = timeout
    }

    /// Throws once the task has stopped waiting, so that no further address is tried.
    func check() throws(AMQPError) {
        if self.state.withLock({ $0.isOver }) { throw .cancelled }
    }

    /// Records an attempt. Returns `false` once the task has stopped waiting.
    func begin(_ address: SocketAddress, _ channel: any Channel) -> Bool {
        self.state.withLock { state in
            if !state.isOver { state.attempts.append(Attempt(address: address, channel: channel)) }
            return !state.isOver
        }
    }

    /// Records the failure of an attempt. A socket that this side closed has not failed: its address did not answer.
    func failed(_ channel: any Channel, _ error: any Error) {
        guard !(error is ChannelError) else { return }
        self.state.withLock { state in
            guard let index = state.attempts.firstIndex(where: { $0.channel === channel }) else { return }
            state.attempts[index].cause = NetworkError.cause(error)
        }
    }

    /// Returns the connection of the address that answered first.
    func succeed(_ parts: AMQPConnection.Parts) {
        // The reply is resolved before the state is read, so that the later of this call and ``giveUp()`` closes the
        // socket.
        let isFirst = self.connected.resolve(.success(parts))
        let isOver = self.state.withLock { state in
            state.attempts = []
            return state.isOver
        }
        if isOver || !isFirst { parts.channel.close(promise: nil) }
    }

    /// Closes the sockets of all attempts, because the task has stopped waiting.
    func giveUp() {
        let channels = self.state.withLock { state in
            defer { state.attempts = [] }
            state.isOver = true
            return state.attempts.map(\.channel)
        }
        for channel in channels { channel.close(promise: nil) }
        if case .success(let parts)? = self.connected.answer { parts.channel.close(promise: nil) }
    }

    /// Ends the attempts with an error that names each address and its cause.
    func fail(_ error: any Error) {
        var failure = self.error(error)
        if !(error is AMQPError), failure.underlying == nil { failure.underlying = error }
        self.connected.resolve(.failure(failure))
    }

    // MARK: Errors

    private func error(_ error: any Error) -> AMQPError {
        switch error {
        case let error as AMQPError: return error
        case let error as NIOConnectionError where error.connectionErrors.isEmpty:
            let cause = (error.dnsAError ?? error.dnsAAAAError).map(NetworkError.cause)
            return self.failure(.connectFailed, cause ?? NetworkError.cause(resolver: 0))
        case let error as NIOConnectionError:
            let failures = error.connectionErrors
            // A setting that every address refuses is an error of the caller, not of the network.
            let refusals = failures.compactMap { $0.error as? AMQPError }
            if refusals.count == failures.count, let refusal = refusals.first { return refusal }
            return self.failure(.connectFailed, failures.map { ($0.target, NetworkError.cause($0.error)) })
        case ChannelError.connectTimeout:
            let attempts = self.state.withLock { $0.attempts }
            guard !attempts.isEmpty else {
                return self.failure(.timeout, "the resolver did not find the host's name within \(self.timeout)")
            }
            let silence = "no answer within \(self.timeout)"
            return self.failure(.timeout, attempts.map { ($0.address, $0.cause ?? silence) })
        default: return self.failure(.connectFailed, NetworkError.cause(error))
        }
    }

    /// The maximum number of addresses in an error text.
    private static let mostNamed = 8

    private func failure(_ condition: AMQPCondition, _ causes: [(address: SocketAddress, cause: String)]) -> AMQPError {
        // The host is the address, so the text names it once.
        if causes.count == 1, causes[0].address.ipAddress == self.host {
            return self.failure(condition, causes[0].cause)
        }
        var texts = causes.prefix(Self.mostNamed).map { "\(NetworkError.place($0.address)): \($0.cause)" }
        if causes.count > Self.mostNamed { texts.append("\(causes.count - Self.mostNamed) more addresses failed") }
        return self.failure(condition, texts.joined(separator: "; "))
    }

    private func failure(_ condition: AMQPCondition, _ cause: String) -> AMQPError {
        AMQPError(scope: .connection, condition: condition, detail: "cannot connect to \(self.place): \(cause)")
    }
}

/// The only handler of a socket that is connecting.
///
/// NIO activates only the winning socket. This handler adds the connection's handlers to that socket before its first
/// read.
final class ConnectAttempt: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private let attempts: ConnectAttempts
    private let check: (SocketAddress) throws(AMQPError) -> Void
    private let addHandlers: (any Channel, SocketAddress?) throws -> ConnectionHandler
    private var address: SocketAddress?

    /// - Parameters:
    ///   - attempts: The attempts of the same connect call.
    ///   - check: Throws for a forbidden address.
    ///   - addHandlers: Adds the handlers of a connection to an active channel, with the address of its peer.
    init(
        _ attempts: ConnectAttempts,
        check: @escaping (SocketAddress) throws(AMQPError) -> Void,
        addHandlers: @escaping (any Channel, SocketAddress?) throws -> ConnectionHandler
    ) {
        self.attempts = attempts
        self.check = check
        self.addHandlers = addHandlers
    }

    func connect(context: ChannelHandlerContext, to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        let channel = context.channel
        let promise = promise ?? context.eventLoop.makePromise()
        self.address = address
        do {
            try self.check(address)
            guard self.attempts.begin(address, channel) else { throw AMQPError.cancelled }
        } catch {
            promise.fail(error)
            return context.close(promise: nil)
        }
        promise.futureResult.whenFailure { [attempts] in attempts.failed(channel, $0) }
        context.connect(to: address, promise: promise)
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        do {
            try self.attempts.check()
            self.attempts.succeed(AMQPConnection.Parts(try self.addHandlers(channel, self.address), channel))
        } catch {
            self.attempts.fail(error)
            return context.close(promise: nil)
        }
        context.fireChannelActive()
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
