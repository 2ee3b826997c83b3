public import NIOCore

/// A message that has arrived, to be settled with one of ``accept()``, ``reject(_:)``, ``release()`` and ``modify(_:)``.
///
/// Settling hands the decision to the connection and returns at once; a second decision does nothing. A delivery that is
/// never settled keeps its place in the receiver's window, and goes back to its source when the link ends.
public struct AMQPDelivery: Sendable {
    /// Up to 32 bytes, in place.
    struct Tag: Sendable {
        var storage: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var count: UInt8 = 0

        init(_ bytes: UnsafeRawBufferPointer) {
            let count = min(bytes.count, 32)
            self.count = UInt8(count)
            withUnsafeMutableBytes(of: &self.storage) { storage in
                storage.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
            }
        }
    }

    /// Where the decisions about the deliveries of one receiver go. Apart from the mailbox, whose memory is changed all the
    /// time: every copy of a delivery counts a reference here.
    final class Settler: Sendable {
        let mailbox: Mailbox
        let receiver: SlotKey

        init(mailbox: Mailbox, receiver: SlotKey) {
            self.mailbox = mailbox
            self.receiver = receiver
        }

        func settle(_ settlement: Settlement) {
            self.mailbox.settle(settlement)
        }

        /// Settles a batch.
        func settle(contentsOf settlements: [Settlement]) {
            self.mailbox.settle(contentsOf: settlements)
        }
    }

    /// Whom the decision is told, and about what.
    struct Handle: Sendable {
        let settler: Settler
        let slot: SlotKey
        let sequence: UInt64

        func settlement(_ outcome: AMQPOutcome, includesEarlier: Bool = false) -> Settlement {
            Settlement(
                receiver: self.settler.receiver,
                slot: self.slot,
                sequence: self.sequence,
                outcome: outcome,
                includesEarlier: includesEarlier
            )
        }
    }

    /// The encoded message, as it came.
    public let payload: ByteBuffer
    let storedTag: Tag
    /// Nil for a message that the sender had settled.
    let handle: Handle?

    init(payload: ByteBuffer, tag: Tag, handle: Handle?) {
        self.payload = payload
        self.storedTag = tag
        self.handle = handle
    }

    /// The message, decoded anew at every access: keep it in a constant.
    ///
    /// - Throws: `AMQPError` with ``AMQPCondition/decodeError`` and the offset when the peer's bytes are not a message.
    ///   ``reject(_:)`` takes that error as it is.
    public var message: AMQPMessage {
        get throws(AMQPError) { try AMQPMessage(decoding: self.payload) }
    }

    /// The delivery-tag: 32 bytes at most. Source: AMQP 1.0 §2.8.7.
    public var tag: [UInt8] {
        withUnsafeBytes(of: self.storedTag.storage) { Array($0.prefix(Int(self.storedTag.count))) }
    }

    /// Whether the sender had settled the message: no decision reaches it.
    public var isSettled: Bool { self.handle == nil }

    /// Takes responsibility for the message.
    public func accept() { self.settle(.accepted) }

    /// Takes responsibility for this message and every earlier one of its receiver that is not settled.
    public func acceptAllUpToHere() { self.settle(.accepted, includesEarlier: true) }

    /// Says that the message is invalid.
    ///
    /// - Parameter error: What is wrong with it, for the sender.
    public func reject(_ error: AMQPError? = nil) { self.settle(.rejected(error)) }

    /// Gives the message back: it was not and will not be acted upon.
    public func release() { self.settle(.released) }

    /// Gives the message back, changed.
    ///
    /// - Parameter changes: The changes.
    public func modify(_ changes: AMQPModified) { self.settle(.modified(changes)) }

    private func settle(_ outcome: AMQPOutcome, includesEarlier: Bool = false) {
        guard let handle = self.handle else { return }
        handle.settler.settle(handle.settlement(outcome, includesEarlier: includesEarlier))
    }
}
