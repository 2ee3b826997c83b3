// SPDX-License-Identifier: Apache-2.0

/// The options of one message's delivery, for the calls that send one message.
///
/// The batch calls of ``AMQPSender`` have no options: a delivery-tag belongs to one message.
public struct AMQPSendOptions: Hashable, Sendable {
    /// The delivery-tag, from 1 to 32 bytes; `nil`, the default, for a generated tag.
    ///
    /// A tag must differ from the tags of all unsettled deliveries of the link. The library checks the tag when it
    /// begins to send the message. If the tag is in use, the message fails with ``AMQPCondition/resourceLocked`` and is
    /// not sent. The peer's settlement of a delivery frees its tag.
    ///
    /// The library's own tags are numbers of 1 to 8 bytes that count up from 1. They skip tags that are in use. To
    /// avoid any conflict with them, choose longer tags, or choose a tag for each message of the link.
    ///
    /// Source: AMQP 1.0 §2.6.12 and §2.8.7, `pn_delivery`.
    public var deliveryTag: [UInt8]?

    /// The message-format: 0, the default, for the format of AMQP 1.0 §3.2.
    ///
    /// The upper three bytes name a format and the lowest byte its version. Both ends must support a format other than
    /// 0.
    ///
    /// Source: AMQP 1.0 §2.7.5 and §2.8.11.
    public var messageFormat: UInt32

    /// How long the message may wait before its first byte is sent, counted from the call; `nil`, the default, for no
    /// limit.
    ///
    /// The message may wait for room, for credit and for the peer's window. When the time has passed, the library
    /// withdraws the message. The call or the tracker fails with ``AMQPCondition/expired``, and the error's
    /// ``AMQPError/fate`` is ``AMQPError/Fate/expired``. Zero or less expires a message that cannot be sent at once. A
    /// partly sent message does not expire.
    ///
    /// The message's ``AMQPHeader/timeToLive`` is another limit: the library sends it unchanged, and the peer applies
    /// it.
    public var expiresAfter: Duration?

    /// Creates options.
    ///
    /// - Parameters:
    ///   - deliveryTag: The delivery-tag; `nil` for a generated tag.
    ///   - messageFormat: The message-format.
    ///   - expiresAfter: How long the message may wait before its first byte is sent; `nil` for no limit.
    public init(deliveryTag: [UInt8]? = nil, messageFormat: UInt32 = 0, expiresAfter: Duration? = nil) {
        self.deliveryTag = deliveryTag
        self.messageFormat = messageFormat
        self.expiresAfter = expiresAfter
    }
}

extension AMQPSendOptions {
    /// Whether the message has no option: a check without a comparison of arrays, because each message makes it.
    var areDefault: Bool { self.deliveryTag == nil && self.messageFormat == 0 && self.expiresAfter == nil }

    func validate() throws(AMQPError) {
        if let tag = self.deliveryTag, !(1...MarkedTag.longest).contains(tag.count) {
            let text =
                "the delivery-tag has \(tag.count) bytes, and 1 to \(MarkedTag.longest) are allowed"
            throw AMQPError(condition: .invalidArgument, detail: text).telling(.notSent)
        }
    }
}

extension AMQPSendOptions: CustomStringConvertible {
    /// The options that differ from the default.
    public var description: String {
        let parts = [
            self.deliveryTag.map { "delivery-tag 0x\($0.hex)" },
            self.messageFormat == 0 ? nil : "message-format 0x\(String(self.messageFormat, radix: 16))",
            self.expiresAfter.map { "expires after \($0)" },
        ].compactMap(\.self)
        return parts.isEmpty ? "no options" : parts.joined(separator: ", ")
    }
}
