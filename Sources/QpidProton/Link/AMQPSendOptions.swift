/// What a call that sends one message may choose of its delivery.
///
/// The batch calls of ``AMQPSender`` take no options: a delivery-tag belongs to one message.
public struct AMQPSendOptions: Hashable, Sendable {
    /// The delivery-tag, from 1 to 32 bytes; nil, the default, for one that the library makes.
    ///
    /// A tag must differ from those of all unsettled deliveries of the link. The library looks when the message begins to be
    /// sent: if the tag is in use, the message fails with ``AMQPCondition/resourceLocked`` and is not sent. The peer's
    /// settlement of a delivery frees its tag.
    ///
    /// The library's own tags are numbers of 1 to 8 bytes that count up from 1. They skip tags that are in use. Choose longer tags, or
    /// choose one for each message of the link, so that a chosen tag never meets one of them.
    ///
    /// Source: AMQP 1.0 §2.6.12 and §2.8.7, `pn_delivery`.
    public var deliveryTag: [UInt8]?

    /// The message-format: 0, the default, for the format of AMQP 1.0 §3.2.
    ///
    /// The upper three bytes name a format and the lowest byte its version. Both ends must know a format other than 0.
    ///
    /// Source: AMQP 1.0 §2.7.5 and §2.8.11.
    public var messageFormat: UInt32

    /// Makes options.
    ///
    /// - Parameters:
    ///   - deliveryTag: The delivery-tag; nil for one that the library makes.
    ///   - messageFormat: The message-format.
    public init(deliveryTag: [UInt8]? = nil, messageFormat: UInt32 = 0) {
        self.deliveryTag = deliveryTag
        self.messageFormat = messageFormat
    }
}

/// The tag and format of one message that has other than the usual ones. Most messages have none, and hold nothing.
final class SendChoice: Sendable {
    /// Nil for a tag of the library.
    let tag: [UInt8]?
    let format: UInt32

    init(tag: [UInt8]?, format: UInt32) {
        self.tag = tag
        self.format = format
    }

    var options: AMQPSendOptions { AMQPSendOptions(deliveryTag: self.tag, messageFormat: self.format) }
}

extension AMQPSendOptions {
    /// What differs from the default; nil where nothing does. Throws for a tag that no peer accepts.
    @inline(__always)
    func choice() throws(AMQPError) -> SendChoice? {
        if self.deliveryTag == nil, self.messageFormat == 0 { return nil }
        return try self.checkedChoice()
    }

    private func checkedChoice() throws(AMQPError) -> SendChoice {
        if let tag = self.deliveryTag, !(1...MarkedTag.longest).contains(tag.count) {
            let text =
                "the delivery-tag has \(tag.count) bytes, and 1 to \(MarkedTag.longest) are allowed"
            throw AMQPError(condition: .invalidArgument, detail: text).telling(.notSent)
        }
        return SendChoice(tag: self.deliveryTag, format: self.messageFormat)
    }
}
