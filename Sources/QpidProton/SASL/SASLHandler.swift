// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore

/// The client's SASL layer.
typealias SASLClientHandler = SASLHandler<SASLClientMachine>
/// The server's SASL layer.
typealias SASLServerHandler = SASLHandler<SASLServerMachine>

/// The SASL layer of a connection, between TLS and the AMQP handler in the pipeline.
///
/// The handler starts when the channel is active, and withholds `channelActive`, all bytes, and `channelReadComplete`
/// from the next handler. After the outcome it fires ``SASLCompleted`` and `channelActive`, forwards the bytes that
/// followed, and removes itself. On failure the handler fires one ``AMQPError`` and closes the channel. The next
/// handler then receives `errorCaught` and `channelInactive` without a `channelActive`.
///
/// The handler buffers at most its largest frame. It sets no deadline, because the connection has a deadline.
final class SASLHandler<Machine: SASLMachine>: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case idle
        case negotiating
        /// A password check runs outside the event loop.
        case checking
        /// The withheld events are on their way to the next handler.
        case completing
        case done
        /// The handler has fired an error, or this side has closed the channel.
        case ended
    }

    private var phase = Phase.idle
    private var machine: Machine
    private var reader: SASLReader
    private var check: Task<Void, Never>?
    /// Whether received bytes still wait for their `channelReadComplete`.
    private var isReading = false
    private let logger: Logger
    private let security: (ChannelHandlerContext) -> SASLTransportSecurity

    /// Creates the handler of one connection.
    ///
    /// - Parameters:
    ///   - machine: The machine of this side of the exchange.
    ///   - maxFrameSize: The largest frame and the limit of buffered bytes, in bytes.
    ///   - logger: The logger of the steps, at debug level.
    ///   - security: The security of the layers below.
    init(
        machine: Machine,
        maxFrameSize: Int,
        logger: Logger,
        security: @escaping (ChannelHandlerContext) -> SASLTransportSecurity = {
            SASLTransportSecurity(context: $0, address: nil)
        }
    ) {
        self.machine = machine
        self.reader = SASLReader(maxFrameSize: maxFrameSize)
        self.logger = logger
        self.security = security
    }

    // MARK: Events

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { self.start(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.check?.cancel()
    }

    func channelActive(context: ChannelHandlerContext) {
        self.start(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.isReading = true
        switch self.phase {
        case .idle, .negotiating, .checking, .completing:
            self.reader.append(&bytes)
            if self.phase == .negotiating { self.process(context) }
            if self.phase == .checking && self.reader.count > self.reader.maxFrameSize {
                self.fail(context, Self.tooManyBytes(self.reader.maxFrameSize))
            }
        case .done: context.fireChannelRead(data)
        case .ended: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        if self.phase == .done { context.fireChannelReadComplete() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.endOfInput(context, closes: false)
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            self.endOfInput(context, closes: true)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The lower layer has reported the cause. The end of input that follows adds no information.
        if self.phase != .done && self.phase != .completing { self.end() }
        context.fireErrorCaught(error)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch self.phase {
        case .completing, .done: context.write(data, promise: promise)
        case .idle, .negotiating, .checking, .ended:
            promise?.fail(
                AMQPError(
                    scope: .connection,
                    condition: .illegalState,
                    detail: "nothing can be sent before the SASL layer is complete"
                )
            )
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input && self.phase != .done && self.phase != .completing { self.end() }
        context.close(mode: mode, promise: promise)
    }

    // MARK: Steps

    private func start(_ context: ChannelHandlerContext) {
        guard self.phase == .idle else { return }
        self.phase = .negotiating
        self.perform(context) { machine throws(AMQPError) in try machine.start(self.security(context)) }
        self.process(context)
    }

    /// Handles complete headers and frames among the received bytes.
    private func process(_ context: ChannelHandlerContext) {
        while self.phase == .negotiating {
            if self.machine.expectsHeader {
                guard let header = self.reader.header() else { return }
                self.perform(context) { machine throws(AMQPError) in
                    try machine.receive(header, self.security(context))
                }
                // If the next handler needs the header, it is still in the buffer after the last step.
                if self.phase == .negotiating { self.reader.dropHeader() }
            } else {
                let before = self.reader.count
                self.perform(context) { machine throws(AMQPError) in
                    guard let frame = try self.reader.nextFrame() else { return [] }
                    self.logger.debug("SASL frame received", metadata: Self.metadata(of: frame))
                    return try machine.receive(frame)
                }
                if self.reader.count == before { return }
            }
        }
    }

    private func perform(
        _ context: ChannelHandlerContext,
        _ step: (inout Machine) throws(AMQPError) -> [SASLAction]
    ) {
        let actions: [SASLAction]
        do {
            actions = try step(&self.machine)
        } catch {
            self.fail(context, error)
            return
        }
        for action in actions {
            // A write can fail at once, and then closes the channel.
            guard self.phase == .negotiating else { return }
            switch action {
            case .sendHeader:
                context.write(self.wrapOutboundOut(ByteBuffer(bytes: ProtocolHeader.saslBytes)), promise: nil)
            case .send(let frame):
                self.logger.debug("SASL frame sent", metadata: Self.metadata(of: frame))
                var buffer = context.channel.allocator.buffer(capacity: 64)
                frame.write(into: &buffer)
                context.write(self.wrapOutboundOut(buffer), promise: nil)
            case .check(let check): self.run(check, context)
            case .complete(let identity):
                context.flush()
                self.complete(context, identity)
            case .fail(let error):
                context.flush()
                self.fail(context, error)
            }
        }
        if self.phase == .negotiating { context.flush() }
    }

    /// Runs a check outside the event loop. Its answer returns to the loop, which drops the answer if the channel is
    /// closed.
    private func run(_ check: @escaping @Sendable () async -> SASLServerStep, _ context: ChannelHandlerContext) {
        self.phase = .checking
        let promise = context.eventLoop.makePromise(of: SASLServerStep.self)
        promise.futureResult.assumeIsolated().whenSuccess { step in
            guard self.phase == .checking else { return }
            self.phase = .negotiating
            self.check = nil
            self.perform(context) { machine throws(AMQPError) in try machine.resume(step) }
            self.process(context)
        }
        self.check = Task { promise.succeed(await check()) }
    }

    private func complete(_ context: ChannelHandlerContext, _ identity: AMQPAuthenticatedIdentity) {
        self.logger.debug("SASL completed", metadata: .amqp([.saslMechanism: "\(identity.mechanism ?? "none")"]))
        self.phase = .completing
        context.fireUserInboundEventTriggered(SASLCompleted(identity: identity))
        if self.phase == .completing { context.fireChannelActive() }
        while self.phase == .completing, let rest = self.reader.takeRest() {
            context.fireChannelRead(self.wrapInboundOut(rest))
        }
        guard self.phase == .completing else { return }
        self.phase = .done
        // After a check there is no read in progress, so no other event would make the next handler flush.
        if !self.isReading { context.fireChannelReadComplete() }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func endOfInput(_ context: ChannelHandlerContext, closes: Bool) {
        switch self.phase {
        case .idle, .negotiating, .checking:
            let error = AMQPError(
                scope: .connection,
                condition: .connectionLost,
                detail:
                    "the peer closed the connection before the SASL layer was complete: it may have refused the "
                    + "login, or not speak AMQP 1.0 on this port"
            )
            self.fail(context, error, closes: closes)
        case .completing, .done:
            if !closes { self.phase = .ended }
        case .ended: break
        }
    }

    private func fail(_ context: ChannelHandlerContext, _ error: AMQPError, closes: Bool = true) {
        self.logger.debug("SASL failed", metadata: .amqp(error: error))
        self.end()
        var error = error
        if error.ending == .closed { error.ending = .refused }
        context.fireErrorCaught(error)
        if closes { context.close(promise: nil) }
    }

    private func end() {
        self.phase = .ended
        self.check?.cancel()
        self.check = nil
        _ = self.reader.takeRest()
    }

    /// Returns the parts of a frame that may be logged: never a response or a challenge.
    private static func metadata(of frame: SASLFrame) -> Logger.Metadata {
        let name = Logger.MetadataValue.string(frame.name)
        return switch frame {
        case .mechanisms(let names): .amqp([.frame: name, .saslMechanisms: "\(shortened(names))"])
        case .initialise(let mechanism, _, _): .amqp([.frame: name, .saslMechanism: "\(shortened([mechanism]))"])
        case .outcome(let code, _): .amqp([.frame: name, .saslCode: "\(code)"])
        case .challenge, .response: .amqp([.frame: name])
        }
    }

    private static func tooManyBytes(_ limit: Int) -> AMQPError {
        AMQPError(
            scope: .connection,
            condition: .connectionFramingError,
            detail: "the peer sent more than \(limit) bytes before the SASL layer was complete"
        )
    }
}
