// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A message that has arrived. Settle it with ``accept(includingEarlier:)``, ``reject(_:)``, ``release()`` or
/// ``modify(_:)``.
///
/// Settling enqueues the decision at the connection and returns at once; a second decision has no effect. ``settled()``
/// returns the result of the settlement.
///
/// A delivery that is never settled occupies the receiver's window, and returns to its source when the link ends. A
/// delivery whose decision is not written to the socket before that end returns too.
/// ``AMQPUnfinished/settlementsNotWritten`` and one log line count the unwritten decisions.
public struct AMQPDelivery: Sendable {
    /// The encoded message, as received. If ``isStreamed`` is true, only the sections before the body.
    public let payload: ByteBuffer
    let storedTag: StoredTag
    /// `nil` for a message that was sent settled.
    let settler: Settler?
    /// `nil` for a message that arrived whole.
    let stream: IncomingStream?
    /// The bits of the delivery's key at its receiver.
    private let slot: UInt
    let sequence: UInt64

    init(
        payload: ByteBuffer,
        tag: StoredTag,
        settler: Settler?,
        stream: IncomingStream? = nil,
        slot: UInt,
        sequence: UInt64
    ) {
        self.payload = payload
        self.storedTag = tag
        self.settler = settler
        self.stream = stream
        self.slot = slot
        self.sequence = sequence
    }

    /// Decodes the message. Each call decodes it again: store the result in a constant.
    ///
    /// - Throws: `AMQPError` with ``AMQPCondition/decodeError`` and the offset when the peer's bytes are not a message.
    ///   ``reject(_:)`` accepts that error unchanged.
    @inlinable public func decodeMessage() throws(AMQPError) -> AMQPMessage { try AMQPMessage(decoding: self.payload) }

    /// The delivery-tag: 32 bytes at most. Source: AMQP 1.0 §2.8.7.
    public var tag: [UInt8] {
        withUnsafeBytes(of: self.storedTag.storage) { Array($0.prefix(Int(self.storedTag.count))) }
    }

    /// The message-format: 0 for the format of AMQP 1.0 §3.2, which ``decodeMessage()`` decodes.
    ///
    /// Source: AMQP 1.0 §2.7.5 and §2.8.11.
    public var messageFormat: UInt32 { self.storedTag.format }

    /// Whether the message was sent settled: no decision reaches the sender.
    public var isSettled: Bool { self.settler == nil }

    /// Accepts the message and the responsibility for it.
    ///
    /// - Parameter includingEarlier: Whether to accept every earlier unsettled message of the receiver, too.
    /// - Returns: Whether the connection received the decision, or the link had ended.
    @discardableResult
    public func accept(includingEarlier: Bool = false) -> AMQPSettlement {
        self.settle(.accepted, includesEarlier: includingEarlier)
    }

    /// Rejects the message as invalid.
    ///
    /// - Parameter error: The reason that the sender receives. The library shortens a text that does not fit into a
    ///   frame of the peer.
    /// - Returns: The same as ``accept(includingEarlier:)``.
    @discardableResult
    public func reject(_ error: AMQPError? = nil) -> AMQPSettlement { self.settle(.rejected(error)) }

    /// Releases the message: this side has not acted and will not act on the message.
    ///
    /// - Returns: The same as ``accept(includingEarlier:)``.
    @discardableResult
    public func release() -> AMQPSettlement { self.settle(.released) }

    /// Returns the message to its source with changes.
    ///
    /// If the annotations do not fit into a frame of the peer, the library omits them and logs a warning.
    ///
    /// - Parameter changes: The changes.
    /// - Returns: The same as ``accept(includingEarlier:)``.
    @discardableResult
    public func modify(_ changes: AMQPModified) -> AMQPSettlement { self.settle(.modified(changes)) }

    private func settle(_ outcome: AMQPOutcome, includesEarlier: Bool = false) -> AMQPSettlement {
        guard let settler = self.settler else { return .queued }
        return settler.settle(self.settlement(outcome, of: settler.receiver, includesEarlier: includesEarlier))
    }

    var key: SlotKey { SlotKey(bitPattern: self.slot) }

    @inline(__always)
    func isSettled(by settler: ObjectIdentifier) -> Bool {
        if let own = self.settler { ObjectIdentifier(own) == settler } else { false }
    }

    @inline(__always)
    func settlement(_ outcome: AMQPOutcome, of receiver: SlotKey, includesEarlier: Bool = false) -> Settlement {
        Settlement(
            receiver: receiver,
            slot: self.key,
            sequence: self.sequence,
            outcome: outcome,
            includesEarlier: includesEarlier
        )
    }
}
