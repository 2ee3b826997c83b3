// SPDX-License-Identifier: Apache-2.0

public import NIOCore

extension AMQPMessage {
    /// The body. `.data([])` and `.sequence([])` contain no section and become `.empty`.
    public var body: Body {
        get {
            switch self.storedBody {
            case .empty: .empty
            case .data(let bytes): .data([bytes])
            case .dataSections(let sections): .data(sections)
            case .sequence(let sections): .sequence(sections)
            case .value(let value): .value(value)
            }
        }
        set {
            switch newValue {
            case .empty: self.storedBody = .empty
            case .data(let sections):
                if sections.count == 1 {
                    self.storedBody = .data(sections[0])
                } else {
                    self.storedBody = sections.isEmpty ? .empty : .dataSections(sections)
                }
            case .sequence(let sections): self.storedBody = sections.isEmpty ? .empty : .sequence(sections)
            case .value(let value): self.storedBody = .value(value)
            }
        }
    }

    /// Creates a message with a body.
    public init(body: Body) {
        self.init()
        self.body = body
    }

    /// Creates a message from a text: an amqp-value section with a string.
    public init(body: String) {
        self.init()
        self.storedBody = .value(.string(body))
    }

    /// Creates a message from bytes: one data section.
    public init(body: [UInt8]) {
        self.init()
        self.storedBody = .data(ByteBuffer(bytes: body))
    }

    /// Creates a message from a buffer's readable bytes: one data section, which is not copied before encoding.
    public init(body: ByteBuffer) {
        self.init()
        self.storedBody = .data(body)
    }

    /// Creates a message from a value: an amqp-value section.
    public init(body: AMQPValue) {
        self.init()
        self.storedBody = .value(body)
    }

    /// The body as text; `nil` if the body is not text.
    ///
    /// Text is a string value, joined data or a binary value in valid UTF-8.
    public var bodyString: String? {
        if case .value(.string(let text)) = self.storedBody { return text }
        return self.bodyBytes.flatMap { String(validating: $0.readableBytesView, as: UTF8.self) }
    }

    /// The body as bytes; `nil` if the body is neither data nor a binary value.
    ///
    /// Reading returns one data section without a copy, and joins several sections into a new buffer. Setting bytes
    /// replaces the body with one data section; setting `nil` removes the body.
    public var bodyBytes: ByteBuffer? {
        get {
            switch self.storedBody {
            case .data(let bytes), .value(.binary(let bytes)): return bytes
            case .dataSections(let sections):
                var joined = ByteBuffer()
                joined.reserveCapacity(sections.reduce(0) { $0 + $1.readableBytes })
                for section in sections {
                    joined.writeImmutableBuffer(section)
                }
                return joined
            default: return nil
            }
        }
        set {
            self.storedBody = newValue.map { .data($0) } ?? .empty
        }
    }
}

extension AMQPMessage: CustomStringConvertible {
    /// A readable text: the sections of the message, and the length of its data without the data itself.
    public var description: String {
        var parts: [String] = []
        if !self.header.isEmpty { parts.append("header: \(self.header)") }
        if !self.deliveryAnnotations.isEmpty { parts.append("deliveryAnnotations: \(self.deliveryAnnotations)") }
        if !self.messageAnnotations.isEmpty { parts.append("messageAnnotations: \(self.messageAnnotations)") }
        if !self.properties.isEmpty { parts.append("properties: \(self.properties)") }
        if !self.applicationProperties.isEmpty { parts.append("applicationProperties: \(self.applicationProperties)") }
        switch self.storedBody {
        case .empty: break
        case .data(let bytes): parts.append("data: \(bytes.readableBytes) bytes")
        case .dataSections(let sections):
            parts.append("data: \(sections.map { "\($0.readableBytes)" }.joined(separator: " + ")) bytes")
        case .sequence(let sections): parts.append("sequence: \(sections)")
        case .value(let value): parts.append("value: \(value)")
        }
        if !self.footer.isEmpty { parts.append("footer: \(self.footer)") }
        return "AMQPMessage(\(parts.joined(separator: ", ")))"
    }
}

extension AMQPHeader: CustomStringConvertible {
    /// A readable text: the fields that differ from their defaults.
    public var description: String {
        var parts: [String] = []
        if self.durable { parts.append("durable") }
        if self.priority != 4 { parts.append("priority: \(self.priority)") }
        if self.hasTimeToLive { parts.append("timeToLive: \(self.timeToLiveMilliseconds) ms") }
        if self.firstAcquirer { parts.append("firstAcquirer") }
        if self.deliveryCount != 0 { parts.append("deliveryCount: \(self.deliveryCount)") }
        return "(\(parts.joined(separator: ", ")))"
    }
}

extension AMQPProperties: CustomStringConvertible {
    /// A readable text: the set properties, but only the length of the user id.
    public var description: String {
        let parts: [(String, String?)] = [
            ("messageID", self.messageID?.description),
            ("userID", self.userID.map { "\($0.readableBytes) bytes" }),
            ("to", self.to),
            ("subject", self.subject),
            ("replyTo", self.replyTo),
            ("correlationID", self.correlationID?.description),
            ("contentType", self.contentType?.rawValue),
            ("contentEncoding", self.contentEncoding?.rawValue),
            ("absoluteExpiryTime", self.absoluteExpiryTime?.description),
            ("creationTime", self.creationTime?.description),
            ("groupID", self.groupID),
            ("groupSequence", self.groupSequence?.description),
            ("replyToGroupID", self.replyToGroupID),
        ]
        return "(\(parts.compactMap { name, text in text.map { "\(name): \($0)" } }.joined(separator: ", ")))"
    }
}
