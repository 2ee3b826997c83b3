// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The properties of a message, which no node changes.
///
/// Source: AMQP 1.0 §3.2.4.
public struct AMQPProperties: Hashable, Sendable {
    /// The fields in the order of their encoding. The fields are boxed, because they are large and most messages use
    /// few: a copy of a message then costs one reference.
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

        static func == (left: Self, right: Self) -> Bool {
            // AMQP compares texts by their bytes.
            left.messageID == right.messageID && left.userID == right.userID
                && String?.haveSameBytes(left.to, right.to) && String?.haveSameBytes(left.subject, right.subject)
                && String?.haveSameBytes(left.replyTo, right.replyTo) && left.correlationID == right.correlationID
                && left.contentType == right.contentType && left.contentEncoding == right.contentEncoding
                && left.absoluteExpiryTime == right.absoluteExpiryTime && left.creationTime == right.creationTime
                && String?.haveSameBytes(left.groupID, right.groupID) && left.groupSequence == right.groupSequence
                && String?.haveSameBytes(left.replyToGroupID, right.replyToGroupID)
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(self.messageID)
            hasher.combine(self.userID)
            for text in [self.to, self.subject, self.replyTo, self.groupID, self.replyToGroupID] {
                text.hashBytes(into: &hasher)
            }
            hasher.combine(self.correlationID)
            hasher.combine(self.contentType)
            hasher.combine(self.contentEncoding)
            hasher.combine(self.absoluteExpiryTime)
            hasher.combine(self.creationTime)
            hasher.combine(self.groupSequence)
        }

        var isEmpty: Bool {
            self.messageID == nil && self.userID == nil && self.to == nil
                && self.subject == nil && self.replyTo == nil && self.correlationID == nil
                && self.contentType == nil && self.contentEncoding == nil && self.absoluteExpiryTime == nil
                && self.creationTime == nil && self.groupID == nil && self.groupSequence == nil
                && self.replyToGroupID == nil
        }
    }

    private enum Storage: Sendable {
        /// No property has been set.
        case none
        case fields(CopyOnWriteBox<Fields>)
        /// The properties are received and unchanged.
        case encoded(EncodedProperties)
    }

    private var storage: Storage = .none

    /// `nil` if no property has been set.
    var box: CopyOnWriteBox<Fields>? {
        switch self.storage {
        case .none: nil
        case .fields(let box): box
        case .encoded(let encoded): encoded.fields
        }
    }

    /// The fields in a box with a single reference.
    private var own: CopyOnWriteBox<Fields> {
        mutating get {
            guard case .fields(var own) = self.storage else {
                let own = CopyOnWriteBox(self.box?.value ?? Fields())
                self.storage = .fields(own)
                return own
            }
            // A second reference here would make the box look shared.
            self.storage = .none
            if !isKnownUniquelyReferenced(&own) { own = CopyOnWriteBox(own.value) }
            self.storage = .fields(own)
            return own
        }
    }

    /// The message's own id.
    public var messageID: AMQPMessageID? {
        get { self.box?.value.messageID }
        _modify {
            yield &self.own.value.messageID
        }
    }
    /// The user that created the message. Brokers may compare the user with the login.
    public var userID: ByteBuffer? {
        get { self.box?.value.userID }
        _modify {
            yield &self.own.value.userID
        }
    }
    /// The address of the destination node.
    public var to: String? {
        get { self.box?.value.to }
        _modify {
            yield &self.own.value.to
        }
    }
    /// The subject of the message.
    public var subject: String? {
        get { self.box?.value.subject }
        _modify {
            yield &self.own.value.subject
        }
    }
    /// The address for replies.
    public var replyTo: String? {
        get { self.box?.value.replyTo }
        _modify {
            yield &self.own.value.replyTo
        }
    }
    /// The id of a related message, for example of the request.
    public var correlationID: AMQPMessageID? {
        get { self.box?.value.correlationID }
        _modify {
            yield &self.own.value.correlationID
        }
    }
    /// The MIME type of the body, for data bodies.
    public var contentType: AMQPSymbol? {
        get { self.box?.value.contentType }
        _modify {
            yield &self.own.value.contentType
        }
    }
    /// The additional encoding of the body, for example `gzip`.
    public var contentEncoding: AMQPSymbol? {
        get { self.box?.value.contentEncoding }
        _modify {
            yield &self.own.value.contentEncoding
        }
    }
    /// The time at which the message expires.
    public var absoluteExpiryTime: AMQPTimestamp? {
        get { self.box?.value.absoluteExpiryTime }
        _modify {
            yield &self.own.value.absoluteExpiryTime
        }
    }
    /// The time at which the message was created.
    public var creationTime: AMQPTimestamp? {
        get { self.box?.value.creationTime }
        _modify {
            yield &self.own.value.creationTime
        }
    }
    /// The group of the message.
    public var groupID: String? {
        get { self.box?.value.groupID }
        _modify {
            yield &self.own.value.groupID
        }
    }
    /// The message's place in its group: a serial number that wraps around.
    public var groupSequence: UInt32? {
        get { self.box?.value.groupSequence }
        _modify {
            yield &self.own.value.groupSequence
        }
    }
    /// The group of the replies.
    public var replyToGroupID: String? {
        get { self.box?.value.replyToGroupID }
        _modify {
            yield &self.own.value.replyToGroupID
        }
    }

    /// Creates empty properties.
    public init() {}

    /// Creates properties from their received form.
    init(_ encoded: EncodedProperties) {
        self.storage = .encoded(encoded)
    }

    /// Sets all properties at once.
    mutating func setFields(_ fields: Fields) {
        self.storage = fields.isEmpty ? .none : .fields(CopyOnWriteBox(fields))
    }

    /// Whether no property is set.
    public var isEmpty: Bool {
        switch self.storage {
        case .none: true
        case .fields(let box): box.value.isEmpty
        case .encoded: false
        }
    }

    /// Returns whether the same properties are set to equal values.
    public static func == (left: AMQPProperties, right: AMQPProperties) -> Bool {
        let (first, second) = (left.box, right.box)
        return first === second || (first?.value ?? Fields()) == (second?.value ?? Fields())
    }

    /// Hashes all properties.
    public func hash(into hasher: inout Hasher) {
        (self.box?.value ?? Fields()).hash(into: &hasher)
    }
}
