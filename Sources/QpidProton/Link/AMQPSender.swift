// SPDX-License-Identifier: Apache-2.0

public import NIOCore
internal import Synchronization

/// The sending end of a link, which accepts messages, buffers them within limits, and reports their outcomes.
///
/// A message that ``enqueue(_:settled:options:)`` or ``trySend(_:settled:options:)`` has accepted waits in the sender
/// until the peer grants credit. Its bytes count against the send limits of the link, the session and the connection
/// until they have been written to the socket. Any task may call any method. The messages of one task are sent in the
/// order of its calls.
///
/// The link stays open until you close it, or its session or connection ends. Releasing the last reference does not
/// close the link: accepted messages are still sent.
public final class AMQPSender: AMQPLink {
    let core: LinkCore
    let lane: SlotKey
    let node: SlotKey
    let outbox: Outbox
    private let settles: AMQPSenderSettleMode
    let overflow: AMQPOverflow
    let arena: Mutex<MessageMemory>

    init(
        _ opened: OpenedSender,
        _ attachment: LinkStatus.Attachment,
        _ session: AMQPSession,
        settles: AMQPSenderSettleMode,
        keptLimit: Int? = nil
    ) {
        self.arena = Mutex(MessageMemory(keptLimit: keptLimit))
        self.core = LinkCore(session: session, status: opened.status, attachment: attachment)
        self.lane = opened.lane
        self.node = opened.node
        self.outbox = session.outbox
        self.settles = settles
        self.overflow = opened.overflow
    }

    deinit {
        self.arena.withLock { $0.close() }
    }

    /// The name of the link. Source: AMQP 1.0 §2.6.1.
    public var name: String { self.core.status.name }
    /// The session that the link is on.
    public var session: AMQPSession { self.core.session }
    /// The source as the peer announced it, with the address of a dynamic source.
    public var remoteSource: AMQPSource { self.core.attachment.source }
    /// The target as the peer announced it, with the address of a dynamic target.
    public var remoteTarget: AMQPTarget { self.core.attachment.target }
    /// The properties of the link that the peer announced.
    public var remoteProperties: AMQPMap { self.core.attachment.properties }
    /// The extensions that the peer offers on the link. Source: AMQP 1.0 §2.7.3.
    public var remoteOfferedCapabilities: [AMQPSymbol] { self.core.attachment.capabilities.offered }
    /// The extensions that the peer would like to use on the link. Source: AMQP 1.0 §2.7.3.
    public var remoteDesiredCapabilities: [AMQPSymbol] { self.core.attachment.capabilities.desired }
    /// The largest message that the peer accepts, in bytes; `nil` for no limit.
    public var remoteMaxMessageSize: AMQPByteCount? { self.core.maxMessageSize }
    /// The number of messages that the peer accepts now. Waiting messages use this credit first. Source: AMQP 1.0
    /// §2.6.7.
    public var credit: Int { self.core.status.credit.load(ordering: .relaxed) }
    /// The total number of messages that the peer has allowed since the link was attached: the started messages plus
    /// ``credit``.
    ///
    /// Subtract the number of messages that this sender has accepted: the difference is the number of further messages
    /// that can be sent at once.
    ///
    /// Source: AMQP 1.0 §2.6.7.
    public var deliveryLimit: Int { self.core.status.deliveryLimit.value }
    /// The error that ended the link; `nil` while it is open.
    public var error: AMQPError? { self.core.error }
    /// Whether messages are sent settled.
    public var settleMode: AMQPSenderSettleMode { self.settles }
    /// The bytes that the sender has accepted and that are not yet written to the socket.
    public var outgoingBytes: AMQPByteCount { AMQPByteCount(self.outbox.ledger(self.node)?.used ?? 0) }
    /// The peak of ``outgoingBytes``.
    package var outgoingBytesPeak: Int { self.outbox.ledger(self.node)?.peak ?? 0 }

    // MARK: Sending

    /// Sends a message and waits for its outcome.
    ///
    /// Suspends for room, for credit, and for the peer's outcome. A call that sends the message settled suspends until
    /// the message has been written to the socket.
    ///
    /// If the task is cancelled before any byte of the message is sent, the sender withdraws the message and frees its
    /// bytes at once. The error's ``AMQPError/fate`` is then ``AMQPError/Fate/notSent``. Otherwise the fate is
    /// ``AMQPError/Fate/inDoubt``, and ``AMQPError/tracker`` can still await the message's outcome.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    /// - Returns: The receiver's decision.
    /// - Throws: `AMQPError` if the message cannot be encoded, is larger than the peer accepts or was not sent. It also
    ///   throws if the link, session or connection ends before the message is settled.
    @discardableResult
    public func send(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init()
    ) async throws(AMQPError) -> AMQPOutcome {
        try await self.settlement(of: self.enqueue(message, settled: settled, options: options))
    }

    /// Waits for the outcome of a message. Cancellation withdraws the message if none of its bytes has been sent.
    func settlement(of tracker: AMQPTracker) async throws(AMQPError) -> AMQPOutcome {
        do {
            return try await tracker.outcome()
        } catch let error where error.condition == .cancelled {
            return try await self.cancel(tracker)
        }
    }

    /// Accepts a message, and suspends only until there is room for it.
    ///
    /// If the sender's ``AMQPOverflow`` is not `.suspend`, the call does not wait for the peer.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    /// - Returns: The tracker, which can await the outcome.
    /// - Throws: `AMQPError` if the message cannot be encoded, is larger than the peer accepts, or the link has ended.
    ///   It also throws if the task was cancelled while it waited, or if there is no room and the policy is
    ///   ``AMQPOverflow/fail``. In each case the message was not sent.
    @discardableResult
    public func enqueue(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init()
    ) async throws(AMQPError) -> AMQPTracker {
        let choice = try self.choice(options)
        switch try self.admit(message, settled, choice, mayWait: true) {
        case .admitted(let reply): return AMQPTracker(reply)
        case .closed: throw self.endedError
        case .full(let level, let bytes):
            if let transfer = try self.overflow(level, bytes) { return transfer }
            return try await self.waitForRoom(message.encoded(), settled, choice)
        }
    }

    /// Accepts a message that is already encoded, such as ``AMQPDelivery/payload``. Otherwise the same as
    /// ``enqueue(_:settled:options:)``.
    ///
    /// - Parameters:
    ///   - encoded: The sections of the message; sent unchanged.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    @discardableResult
    public func enqueue(
        encoded: ByteBuffer,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init()
    ) async throws(AMQPError) -> AMQPTracker {
        let choice = try self.choice(options)
        switch try self.admit(encoded, settled, choice, mayWait: true) {
        case .admitted(let reply): return AMQPTracker(reply)
        case .closed: throw self.endedError
        case .full(let level, let bytes):
            if let transfer = try self.overflow(level, bytes) { return transfer }
            return try await self.waitForRoom(encoded, settled, choice)
        }
    }

    /// Accepts a message if there is room for it now. Never suspends.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    /// - Returns: The tracker, which can await the outcome.
    /// - Throws: `AMQPError` with ``AMQPCondition/wouldBlock`` if there is no room; ``AMQPError/blockedBy`` holds the
    ///   causes. Otherwise the same errors as ``enqueue(_:settled:options:)``.
    @discardableResult
    public func trySend(
        _ message: AMQPMessage,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init()
    ) throws(AMQPError) -> AMQPTracker {
        try self.transfer(self.admit(message, settled, self.choice(options)))
    }

    /// Accepts a message that is already encoded if there is room for it now. Otherwise the same as
    /// ``trySend(_:settled:options:)``.
    ///
    /// - Parameters:
    ///   - encoded: The sections of the message; sent unchanged.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    @discardableResult
    public func trySend(
        encoded: ByteBuffer,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init()
    ) throws(AMQPError) -> AMQPTracker {
        try self.transfer(self.admit(encoded, settled, self.choice(options)))
    }

    func transfer(_ admission: Outbox.Admission) throws(AMQPError) -> AMQPTracker {
        switch admission {
        case .admitted(let reply): return AMQPTracker(reply)
        case .closed: throw self.endedError
        case .full(let level, let bytes): throw self.outbox.refusal(level, bytes: bytes, self.node).error
        }
    }

    // MARK: Credit

    /// Suspends until the ``deliveryLimit`` differs from `known`, and returns the new limit.
    ///
    /// - Parameter known: The limit that the caller has last seen.
    /// - Throws: `AMQPError` if the link ends, or the task is cancelled.
    public func deliveryLimit(after known: Int) async throws(AMQPError) -> Int {
        try await self.core.status.deliveryLimit.value(after: known)
    }

    // MARK: Closing

    /// Suspends until either side has ended the link. Cancellation ends only the wait.
    ///
    /// - Throws: `AMQPError` if the link ended with an error, the peer ended the session or connection, or the task was
    ///   cancelled.
    public func waitUntilClosed() async throws(AMQPError) {
        _ = try await self.core.status.ended.value()
    }

    // MARK: Parts

    /// The error for a message submitted after the link has ended. It always reports the fate `notSent`. The connection
    /// may end shortly before its links do.
    var endedError: AMQPError {
        let cause = self.error ?? (self.outbox.isClosed ? self.outbox.closedError : nil)
        return cause?.telling(.notSent) ?? .senderClosed
    }

    /// Encodes a message, and enqueues it if there is room for it now.
    private func admit(
        _ message: AMQPMessage,
        _ settled: Bool?,
        _ choice: SendChoice?,
        mayWait: Bool = false
    ) throws(AMQPError) -> Outbox.Admission {
        let isSettled = try self.isSettled(settled)
        do {
            let admission = try self.place(isSettled, choice, nil, mayWait) { () throws(AMQPError) in
                try message.encodingRoom()
            } write: { (memory) throws(AMQPError) in
                try message.encode(to: memory)
            }
            if let admission { return admission }
            return try self.admitWhole(message.encoded(), isSettled, choice, nil, mayWait)
        } catch {
            // Only encoding and the checks before it can throw.
            throw error.telling(.notSent)
        }
    }

    func admit(
        _ encoded: ByteBuffer,
        _ settled: Bool?,
        _ choice: SendChoice?,
        _ promise: OutcomePromise? = nil,
        mayWait: Bool = false
    ) throws(AMQPError) -> Outbox.Admission {
        let isSettled = try self.isSettled(settled)
        let count = encoded.readableBytes
        let admission = try self.place(isSettled, choice, promise, mayWait) {
            count
        } write: { memory in
            guard count <= memory.count else { return nil }
            encoded.withUnsafeReadableBytes { memory.copyMemory(from: $0) }
            return count
        }
        if let admission { return admission }
        return try self.admitWhole(encoded, isSettled, choice, promise, mayWait)
    }

    /// Enqueues a message that is too large for the memory that small messages share.
    private func admitWhole(
        _ encoded: ByteBuffer,
        _ isSettled: Bool,
        _ choice: SendChoice?,
        _ promise: OutcomePromise?,
        _ mayWait: Bool
    ) throws(AMQPError) -> Outbox.Admission {
        let count = encoded.readableBytes
        try self.check(count)
        return self.outbox.tryEnqueue(
            MessageChunk.message(encoded),
            count: count,
            lane: self.lane,
            node: self.node,
            isSettled: isSettled,
            choice: choice,
            promise: promise,
            mayWait: mayWait
        )
    }

    /// Writes a small message into the memory that small messages share. Returns `nil` if the message is too large.
    @inline(__always)
    private func place(
        _ isSettled: Bool,
        _ choice: SendChoice?,
        _ promise: OutcomePromise?,
        _ mayWait: Bool,
        bound: () throws(AMQPError) -> Int,
        write: (UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int?
    ) throws(AMQPError) -> Outbox.Admission? {
        try self.arena.withLock { (arena) throws(AMQPError) in
            var admission = Outbox.Admission.closed
            let isPlaced = try arena.place(bound: bound, write) { (bytes) throws(AMQPError) in
                try self.check(bytes.count)
                admission = self.outbox.tryEnqueue(
                    bytes,
                    count: bytes.count,
                    lane: self.lane,
                    node: self.node,
                    isSettled: isSettled,
                    choice: choice,
                    promise: promise,
                    mayWait: mayWait
                )
                if case .admitted = admission { return true }
                return false
            }
            return isPlaced ? admission : nil
        }
    }

    private func waitForRoom(
        _ encoded: ByteBuffer,
        _ settled: Bool?,
        _ choice: SendChoice?
    ) async throws(AMQPError) -> AMQPTracker {
        try await self.admit(encoded, .whole, isSettled: self.isSettled(settled), choice)
    }

    /// Waits for room for encoded bytes, and enqueues them. A message with a time limit waits at most that long.
    func admit(
        _ encoded: ByteBuffer,
        _ part: MessagePart,
        of reply: OutcomeReply? = nil,
        isSettled: Bool,
        _ choice: SendChoice? = nil,
        _ promise: OutcomePromise? = nil
    ) async throws(AMQPError) -> AMQPTracker {
        guard let choice, let deadline = choice.deadline, let limit = choice.options.expiresAfter else {
            return try await self.place(encoded, part, of: reply, isSettled, choice, promise)
        }
        return try await self.session.connection.until(deadline) { () async throws(AMQPError) in
            try await self.place(encoded, part, of: reply, isSettled, choice, promise)
        } observing: {
        } atLimit: { _, _ in
            .expired(after: limit)
        }
    }

    private func place(
        _ encoded: ByteBuffer,
        _ part: MessagePart,
        of reply: OutcomeReply?,
        _ isSettled: Bool,
        _ choice: SendChoice?,
        _ promise: OutcomePromise?
    ) async throws(AMQPError) -> AMQPTracker {
        do {
            let reply = try await self.outbox.enqueue(
                encoded,
                lane: self.lane,
                node: self.node,
                isSettled: isSettled,
                choice: choice,
                promise: promise,
                part: part,
                of: reply,
                orPost: part.number == 0 ? self.roomMaker : nil
            )
            return AMQPTracker(reply)
        } catch let error where error == .senderClosed {
            throw self.endedError
        }
    }

    func check(_ size: Int) throws(AMQPError) {
        guard let limit = self.remoteMaxMessageSize, size > limit.bytes else { return }
        let text = "the message has \(size) bytes, and the peer accepts at most \(limit.bytes)"
        throw AMQPError(scope: .delivery, condition: .linkMessageSizeExceeded, detail: text, fate: .notSent)
    }

    func isSettled(_ settled: Bool?) throws(AMQPError) -> Bool {
        switch self.settles {
        case .settled where settled == false:
            throw AMQPError(condition: .invalidArgument, detail: "the link's settle mode is settled").telling(.notSent)
        case .unsettled where settled == true:
            throw AMQPError(condition: .invalidArgument, detail: "the link's settle mode is unsettled").telling(
                .notSent
            )
        case .settled: true
        case .unsettled: false
        case .mixed: settled ?? false
        }
    }

    /// Withdraws a message if none of its bytes has been sent. Returns the outcome if it has arrived in the meantime.
    private func cancel(_ transfer: AMQPTracker) async throws(AMQPError) -> AMQPOutcome {
        try? await self.outbox.askAtOnce { .sender(self.core.status, .cancel(transfer.reply, $0)) }
        if let result = transfer.result { return try result.get() }
        throw AMQPError.inDoubt(transfer)
    }
}
