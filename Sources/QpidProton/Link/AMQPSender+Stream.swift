public import NIOCore

extension AMQPSender {
    /// The most bytes of a body that are handed over in one piece.
    static let streamPiece = 65_536

    /// Sends one message while its body is being made, and suspends until it is settled.
    ///
    /// The body is never held whole: each piece counts against the send limits until it has been written to the socket, and
    /// the next is asked for when there is room. Other messages of this sender wait until the last piece has been accepted.
    ///
    /// When `body` throws, or the task is cancelled, the message is aborted: the peer drops what it has got of it. When the
    /// peer settles the message before its end, the rest of the body is not asked for.
    ///
    /// - Parameters:
    ///   - message: The sections of the message but for its body, which must be empty. Its footer is sent at the end.
    ///   - length: The bytes of the whole body, if that is known: they are then one data section, as every peer reads it.
    ///     Else each piece is a data section of its own (AMQP 1.0 §3.2.6), of 64 KiB at most.
    ///   - settled: Whether to send it settled; nil for the link's ``settleMode``.
    ///   - body: The bytes, in pieces of any size.
    /// - Returns: What the receiver decided.
    /// - Throws: What `body` throws; `AMQPError` with ``AMQPCondition/cancelled`` when the task was cancelled and the message
    ///   was not sent or was aborted, ``AMQPCondition/unsettled`` when all of it had been sent, with ``AMQPCondition/invalidArgument`` when the body has not `length` bytes, and as
    ///   ``send(_:settled:)``.
    ///
    /// Source: AMQP 1.0 §2.6.14, `pn_link_send`, `pn_delivery_abort`.
    @discardableResult
    public func stream<Body: AsyncSequence>(
        _ message: AMQPMessage = AMQPMessage(),
        length: ByteCount? = nil,
        settled: Bool? = nil,
        body: Body
    ) async throws -> AMQPOutcome where Body.Element == ByteBuffer {
        var stream = try await StreamedMessage(message, length: length, settled: settled, on: self)
        do {
            for try await chunk in body {
                // The peer may have settled it already.
                if stream.transfer.result != nil { break }
                try await stream.append(chunk)
            }
            try await stream.finish()
        } catch {
            let cause =
                (error as? AMQPError) ?? AMQPError(.delivery, .aborted, "the body ended with an error: \(error)")
            await stream.abort(cause)
            // The peer may have been first.
            if case .success(let outcome)? = stream.transfer.result { return outcome }
            throw stream.isBegun ? Self.aborted(error) : error
        }
        return try await stream.outcome()
    }

    /// Of a message that has begun, what a part of it was told: that it was not sent.
    private static func aborted(_ error: any Error) -> any Error {
        guard var error = error as? AMQPError, error.detail.hasPrefix("not sent: ") else { return error }
        error.detail = "aborted: " + error.detail.dropFirst("not sent: ".count)
        return error
    }
}

/// The sending of one message whose body is made meanwhile. One task uses it.
struct StreamedMessage {
    let transfer: AMQPTransfer
    private let sender: AMQPSender
    private let number: UInt32
    private let length: Int?
    private let footer: ByteBuffer
    /// The bytes of the body so far, and of the message.
    private var count = 0
    private var total: Int

    /// Accepts the beginning of the message: suspends for room.
    init(
        _ message: AMQPMessage,
        length: ByteCount?,
        settled: Bool?,
        on sender: AMQPSender
    ) async throws(AMQPError) {
        guard message.body == .empty else {
            throw AMQPError(.local, .invalidArgument, "not sent: a message that is streamed has its body in the stream")
        }
        var beginning = message
        beginning.footer = [:]
        var encoded = try beginning.encoded()
        var end = AMQPMessage()
        end.footer = message.footer
        self.footer = try end.encoded()
        if let length {
            guard length.bytes <= UInt32.max else {
                throw AMQPError(
                    .local,
                    .invalidArgument,
                    "not sent: a data section holds 4 GiB at most: leave out the length"
                )
            }
            Self.writeSection(length.bytes, to: &encoded)
        }
        self.length = length?.bytes
        self.total = encoded.readableBytes
        try sender.check(self.total + (length?.bytes ?? 0) + self.footer.readableBytes)
        self.sender = sender
        self.number = sender.mailbox.makeStream()
        self.transfer = try await sender.admit(encoded, .beginning(self.number), isSettled: sender.isSettled(settled))
    }

    /// Whether the peer may have got the beginning of the message, which has been given up.
    var isBegun: Bool {
        if case .failure(let error)? = self.transfer.result { !error.detail.hasPrefix("not sent") } else { true }
    }

    /// Accepts a piece of the body: suspends for room.
    mutating func append(_ chunk: ByteBuffer) async throws(AMQPError) {
        var rest = chunk
        if let length = self.length, rest.readableBytes > length - self.count {
            throw AMQPError(
                .local,
                .invalidArgument,
                "aborted: the body has more than the \(length) bytes that were told"
            )
        }
        while let piece = rest.readSlice(length: min(rest.readableBytes, AMQPSender.streamPiece)),
            piece.readableBytes > 0
        {
            self.count += piece.readableBytes
            var bytes = piece
            if self.length == nil {
                bytes = ByteBuffer()
                bytes.reserveCapacity(piece.readableBytes + 8)
                Self.writeSection(piece.readableBytes, to: &bytes)
                bytes.writeImmutableBuffer(piece)
            }
            try await self.accept(bytes, isLast: false)
        }
    }

    /// Accepts the end of the message, and lets the others pass.
    mutating func finish() async throws(AMQPError) {
        defer { self.letOthersPass() }
        if self.transfer.result != nil { return }
        if let length = self.length, self.count < length {
            let text = "aborted: the body has \(self.count) bytes, and \(length) were told"
            throw AMQPError(.local, .invalidArgument, text)
        }
        try await self.accept(self.footer, isLast: true)
    }

    private func letOthersPass() {
        self.sender.mailbox.endStream(self.number, node: self.sender.node)
        if let roomMaker = self.sender.roomMaker { self.sender.mailbox.run(roomMaker) }
    }

    private mutating func accept(_ bytes: ByteBuffer, isLast: Bool) async throws(AMQPError) {
        self.total += bytes.readableBytes
        try self.sender.check(self.total)
        // What the peer has settled already takes no more.
        if self.transfer.result != nil { return }
        let place = Mailbox.StreamPlace.part(self.number, self.transfer.reply, isLast: isLast)
        _ = try await self.sender.admit(bytes, place, isSettled: false)
    }

    /// Ends the message before its end.
    func abort(_ cause: AMQPError) async {
        let error = AMQPError(.delivery, .aborted, "aborted: \(cause)", isFromPeer: cause.isFromPeer)
        await self.run { endpoint, reply in endpoint.abort(reply, error) }
    }

    /// Suspends until the message is settled. A task that is cancelled aborts it, if there is something left to be sent.
    func outcome() async throws(AMQPError) -> AMQPOutcome {
        do {
            return try await self.transfer.outcome()
        } catch let error where error.condition == .cancelled {
            return try await self.cancel()
        }
    }

    /// Ends the message if its end has not been handed over. Returns the outcome if it has come in the meantime.
    private func cancel() async throws(AMQPError) -> AMQPOutcome {
        let error = AMQPError(.delivery, .cancelled, "aborted: the task was cancelled")
        await self.run { endpoint, reply in endpoint.abort(reply, error) }
        if let result = self.transfer.result { return try result.get() }
        var unsettled = AMQPError(.delivery, .unsettled, "sent, but not settled: the task was cancelled")
        unsettled.transfer = self.transfer
        throw unsettled
    }

    /// Runs work on the loop, and waits for it also where the task is cancelled.
    private func run(_ body: @escaping @Sendable (SenderEndpoint, OutcomeReply) -> Void) async {
        let done = Reply<Void>()
        let (endpoint, reply) = (self.sender.endpoint, self.transfer.reply)
        self.sender.mailbox.run(
            { _ in
                body(endpoint.value, reply)
                done.resolve(.success(()))
            },
            otherwise: { done.resolve(.failure($0)) }
        )
        _ = await Task { try? await done.value() }.value
        self.letOthersPass()
    }

    /// The beginning of a data section of so many bytes.
    private static func writeSection(_ count: Int, to buffer: inout ByteBuffer) {
        buffer.writeBytes([Code.described, Code.smallUlong, Section.data])
        if let small = UInt8(exactly: count) {
            buffer.writeBytes([Code.binary8, small])
        } else {
            buffer.writeInteger(Code.binary32)
            buffer.writeInteger(UInt32(clamping: count))
        }
    }
}
