// SPDX-License-Identifier: Apache-2.0

public import NIOCore
internal import Synchronization

extension AMQPSender {
    /// The maximum number of body bytes in one piece.
    static let streamPiece = 65_536

    /// Sends one message while your code produces its body, and waits for its outcome.
    ///
    /// The library never holds the whole body. Each piece counts against the send limits until it has been written to
    /// the socket. The sender reads the next piece when there is room. Other messages of this sender wait until the
    /// last piece has been accepted.
    ///
    /// If `body` throws or the task is cancelled, the sender aborts the message, and the peer discards the part that it
    /// has received. A child task produces the body. If the peer settles the message before its end, the library
    /// cancels that task. A `body` that waits for its next piece must respond to cancellation, as `AsyncStream` does.
    ///
    /// - Parameters:
    ///   - message: The sections of the message except for its body, which must be empty. The footer is sent at the
    ///     end.
    ///   - length: The size of the whole body, if known: the body is then one data section, which every peer can read.
    ///     Otherwise each piece is a separate data section (AMQP 1.0 §3.2.6), of 64 KiB at most.
    ///   - settled: Whether to send the message settled; `nil` for the link's ``settleMode``.
    ///   - options: The delivery-tag, the message-format and the time limit of the message.
    ///   - body: The bytes, in pieces of any size.
    /// - Returns: The receiver's decision.
    /// - Throws: Any error that `body` throws. `AMQPError` with ``AMQPCondition/cancelled`` if the task was cancelled:
    ///   its ``AMQPError/fate`` reports whether the message was not sent, was aborted or is in doubt.
    ///   ``AMQPCondition/invalidArgument`` if the body does not have `length` bytes. Otherwise the same errors as
    ///   ``send(_:settled:options:)``.
    ///
    /// Source: AMQP 1.0 §2.6.14, `pn_link_send`, `pn_delivery_abort`.
    @discardableResult
    public func stream<Body: AsyncSequence>(
        _ message: AMQPMessage = AMQPMessage(),
        length: AMQPByteCount? = nil,
        settled: Bool? = nil,
        options: AMQPSendOptions = .init(),
        body: sending Body
    ) async throws -> AMQPOutcome where Body.Element == ByteBuffer {
        let stream = try await StreamedMessage(message, length: length, settled: settled, options: options, on: self)
        // The outcome cancels this task, because the peer may settle the message before its end.
        async let _: Void = stream.make(body)
        return try await stream.outcome()
    }
}

/// The state of one streamed message: one task produces the body while another waits for the outcome.
struct StreamedMessage {
    /// The error that ended the body, if there was one.
    private final class Failure: Sendable {
        let error = Mutex<(any Error)?>(nil)
    }

    let transfer: AMQPTracker
    private let sender: AMQPSender
    private let number: UInt32
    private let length: Int?
    private let footer: ByteBuffer
    private let failure = Failure()
    /// The number of body bytes accepted so far.
    private var count = 0
    private var total: Int

    /// Accepts the beginning of the message. Suspends until there is room.
    init(
        _ message: AMQPMessage,
        length: AMQPByteCount?,
        settled: Bool?,
        options: AMQPSendOptions,
        on sender: AMQPSender
    ) async throws(AMQPError) {
        guard message.body == .empty else {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "a message that is streamed has its body in the stream"
            ).telling(.notSent)
        }
        let choice = try sender.choice(options)
        var beginning = message
        beginning.footer = [:]
        var encoded = try beginning.encoded()
        var end = AMQPMessage()
        end.footer = message.footer
        self.footer = try end.encoded()
        if let length {
            guard length.bytes <= UInt32.max else {
                throw AMQPError(
                    condition: .invalidArgument,
                    detail: "a data section holds 4 GiB at most: leave out the length"
                ).telling(.notSent)
            }
            Self.writeSection(length.bytes, to: &encoded)
        }
        self.length = length?.bytes
        self.total = encoded.readableBytes
        try sender.check(self.total + (length?.bytes ?? 0) + self.footer.readableBytes)
        self.sender = sender
        self.number = sender.outbox.makeStream()
        let isSettled = try sender.isSettled(settled)
        self.transfer = try await sender.admit(encoded, .first(self.number), isSettled: isSettled, choice)
    }

    // MARK: The body

    /// Accepts the body and the end of the message, and then releases waiting messages of the sender.
    func make<Body: AsyncSequence>(_ body: sending Body) async where Body.Element == ByteBuffer {
        var maker = self
        do {
            for try await chunk in body {
                // The message can be settled before this task is cancelled.
                if self.transfer.result != nil { break }
                try await maker.append(chunk)
            }
            try await maker.finish()
        } catch {
            self.fail(error)
        }
        self.sender.outbox.endStream(self.number, node: self.sender.node)
        if let roomMaker = self.sender.roomMaker { self.sender.outbox.post(roomMaker) }
    }

    /// Aborts the message because the body failed. After a cancellation, the task that waits for the outcome aborts it.
    private func fail(_ error: any Error) {
        guard !Task.isCancelled, self.transfer.result == nil else { return }
        self.failure.error.withLock { $0 = error }
        var cause =
            (error as? AMQPError)
            ?? AMQPError(scope: .delivery, condition: .aborted, detail: "the body ended with an error: \(error)")
        cause.scope = .delivery
        cause.fate = .aborted
        cause.underlying = error
        self.sender.outbox.post(.sender(self.sender.core.status, .abort(self.transfer.reply, cause, Reply())))
    }

    /// Accepts a piece of the body. Suspends until there is room.
    private mutating func append(_ chunk: ByteBuffer) async throws(AMQPError) {
        var rest = chunk
        if let length = self.length, rest.readableBytes > length - self.count {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "the body has more than the \(length) bytes that were announced"
            ).telling(.aborted)
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

    private mutating func finish() async throws(AMQPError) {
        if self.transfer.result != nil { return }
        if let length = self.length, self.count < length {
            let text = "the body has \(self.count) bytes, and \(length) were announced"
            throw AMQPError(condition: .invalidArgument, detail: text).telling(.aborted)
        }
        try await self.accept(self.footer, isLast: true)
    }

    private mutating func accept(_ bytes: ByteBuffer, isLast: Bool) async throws(AMQPError) {
        self.total += bytes.readableBytes
        try self.sender.check(self.total)
        // A message that the peer has settled accepts no further bytes.
        if self.transfer.result != nil { return }
        let part = isLast ? MessagePart.last(self.number) : .middle(self.number)
        _ = try await self.sender.admit(bytes, part, of: self.transfer.reply, isSettled: false)
    }

    // MARK: The outcome

    /// Suspends until the message is settled. A cancelled task aborts the message if its end has not been sent.
    func outcome() async throws -> AMQPOutcome {
        do {
            return try await self.transfer.outcome()
        } catch {
            if self.transfer.result == nil { await self.cancel() }
            switch self.transfer.result {
            case .success(let outcome)?: return outcome
            case .failure(let answer)?:
                guard let cause = self.failure.error.withLock({ $0 }) else { throw answer }
                throw answer.fate == .notSent ? cause : (cause as? AMQPError)?.aborted ?? cause
            case nil: throw AMQPError.inDoubt(self.transfer)
            }
        }
    }

    /// Aborts the message if its end has not been sent. The cancelled task still waits for the answer of the loop.
    private func cancel() async {
        let error = AMQPError(condition: .cancelled, detail: "the task was cancelled").telling(.aborted)
        let sender = self.sender
        try? await sender.outbox.askAtOnce { .sender(sender.core.status, .abort(self.transfer.reply, error, $0)) }
    }

    /// Writes the header of a data section with `count` bytes.
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
