public import NIOCore

/// The properties of a message, which stay as the sender set them.
///
/// Source: AMQP 1.0 §3.2.4.
public struct AMQPProperties: Hashable, Sendable {
    /// The fields in the order in which they are encoded. They are large, and most messages carry few of them: they lie behind a
    /// reference, so that a copy of a message costs one.
    struct Fields: Hashable, Sendable {
        var messageID: AMQPMessageID?
        var userID: ByteBuffer?
        var to: String?
        var subject: String?
        var replyTo: String?
        var correlationID: AMQPMessageID?
        var contentType: AMQPSymbol?
        var contentEncoding: AMQPSymbol?
        var absoluteExpiryTime: AMQPTimestamp?
        var creationTime: AMQPTimestamp?
        var groupID: String?
        var groupSequence: UInt32?
        var replyToGroupID: String?

        var isEmpty: Bool {
            self.messageID == nil && self.userID == nil && self.to == nil
                && self.subject == nil && self.replyTo == nil && self.correlationID == nil
                && self.contentType == nil && self.contentEncoding == nil && self.absoluteExpiryTime == nil
                && self.creationTime == nil && self.groupID == nil && self.groupSequence == nil
                && self.replyToGroupID == nil
        }
    }

    /// Nil where no property was ever set.
    var box: CopyOnWriteBox<Fields>?

    /// The message's own id.
    public var messageID: AMQPMessageID? {
        get { self.box?.value.messageID }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.messageID
        }
    }
    /// The user that made the message. Brokers compare it with the login.
    public var userID: ByteBuffer? {
        get { self.box?.value.userID }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.userID
        }
    }
    /// The address of the node the message is for.
    public var to: String? {
        get { self.box?.value.to }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.to
        }
    }
    /// What the message is about.
    public var subject: String? {
        get { self.box?.value.subject }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.subject
        }
    }
    /// The address of the node that replies are to be sent to.
    public var replyTo: String? {
        get { self.box?.value.replyTo }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.replyTo
        }
    }
    /// The id of the message that this one belongs to, for example replies to.
    public var correlationID: AMQPMessageID? {
        get { self.box?.value.correlationID }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.correlationID
        }
    }
    /// The MIME type of the body, for data bodies.
    public var contentType: AMQPSymbol? {
        get { self.box?.value.contentType }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.contentType
        }
    }
    /// How the body is encoded besides, for example `gzip`.
    public var contentEncoding: AMQPSymbol? {
        get { self.box?.value.contentEncoding }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.contentEncoding
        }
    }
    /// When the message expires.
    public var absoluteExpiryTime: AMQPTimestamp? {
        get { self.box?.value.absoluteExpiryTime }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.absoluteExpiryTime
        }
    }
    /// When the message was made.
    public var creationTime: AMQPTimestamp? {
        get { self.box?.value.creationTime }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.creationTime
        }
    }
    /// The group that the message belongs to.
    public var groupID: String? {
        get { self.box?.value.groupID }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.groupID
        }
    }
    /// The message's place in its group: a serial number that wraps around.
    public var groupSequence: UInt32? {
        get { self.box?.value.groupSequence }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.groupSequence
        }
    }
    /// The group that replies belong to.
    public var replyToGroupID: String? {
        get { self.box?.value.replyToGroupID }
        _modify {
            self.box.makeUnique(or: Fields())
            yield &self.box!.value.replyToGroupID
        }
    }

    /// Makes properties of which none is set.
    public init() {}

    /// Makes properties of fields that have been read.
    init(_ box: CopyOnWriteBox<Fields>) {
        self.box = box
    }

    /// Whether no property is set.
    public var isEmpty: Bool { self.box?.value.isEmpty ?? true }

    private var fields: Fields { self.box?.value ?? Fields() }

    /// Whether the same properties are set to equal values.
    public static func == (left: AMQPProperties, right: AMQPProperties) -> Bool {
        left.box === right.box || left.fields == right.fields
    }

    /// Hashes all properties.
    public func hash(into hasher: inout Hasher) {
        self.fields.hash(into: &hasher)
    }
}
