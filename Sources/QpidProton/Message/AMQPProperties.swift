public import NIOCore

/// The properties of a message, which stay as the sender set them.
///
/// Source: AMQP 1.0 §3.2.4.
public struct AMQPProperties: Hashable, Sendable {
    /// The message's own id.
    public var messageID: AMQPMessageID?
    /// The user that made the message. Brokers compare it with the login.
    public var userID: ByteBuffer?
    /// The address of the node the message is for.
    public var to: String?
    /// What the message is about.
    public var subject: String?
    /// The address of the node that replies are to be sent to.
    public var replyTo: String?
    /// The id of the message that this one belongs to, for example replies to.
    public var correlationID: AMQPMessageID?
    /// The MIME type of the body, for data bodies.
    public var contentType: AMQPSymbol?
    /// How the body is encoded besides, for example `gzip`.
    public var contentEncoding: AMQPSymbol?
    /// When the message expires.
    public var absoluteExpiryTime: AMQPTimestamp?
    /// When the message was made.
    public var creationTime: AMQPTimestamp?
    /// The group that the message belongs to.
    public var groupID: String?
    /// The message's place in its group: a serial number that wraps around.
    public var groupSequence: UInt32?
    /// The group that replies belong to.
    public var replyToGroupID: String?

    /// Makes properties of which none is set.
    public init() {}

    /// Whether no property is set.
    public var isEmpty: Bool {
        self.messageID == nil && self.userID == nil && self.to == nil && self.subject == nil && self.replyTo == nil
            && self.correlationID == nil && self.contentType == nil && self.contentEncoding == nil
            && self.absoluteExpiryTime == nil && self.creationTime == nil && self.groupID == nil
            && self.groupSequence == nil && self.replyToGroupID == nil
    }
}
