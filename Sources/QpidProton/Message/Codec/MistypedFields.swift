// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The names of the fields in list sections, in order. Source: AMQP 1.0 §3.2.1 and §3.2.4.
enum FieldNames {
    static let header = ["durable", "priority", "ttl", "first-acquirer", "delivery-count"]
    static let properties = [
        "message-id", "user-id", "to", "subject", "reply-to", "correlation-id", "content-type", "content-encoding",
        "absolute-expiry-time", "creation-time", "group-id", "group-sequence", "reply-to-group-id",
    ]
}

// Messages with a mistyped field are rare, so the encoder writes their two lists on the slower path through values.

extension AMQPHeader {
    /// Returns the fields as a list, with a mistyped value for a field with its default; `nil` if no field is set.
    func list(_ mistyped: [String: AMQPValue]) -> [AMQPValue]? {
        FieldNames.list(
            [
                self.durable ? .bool(true) : nil,
                self.priority == 4 ? nil : .ubyte(self.priority),
                self.hasTimeToLive ? .uint(self.timeToLiveMilliseconds) : nil,
                self.firstAcquirer ? .bool(true) : nil,
                self.deliveryCount == 0 ? nil : .uint(self.deliveryCount),
            ],
            FieldNames.header,
            mistyped
        )
    }
}

extension AMQPProperties.Fields {
    /// Returns the fields as a list, with a mistyped value for a `nil` field; `nil` if no field is set.
    func list(_ mistyped: [String: AMQPValue]) -> [AMQPValue]? {
        FieldNames.list(
            [
                self.messageID?.value, self.userID.map { .binary($0) }, self.to.map { .string($0) },
                self.subject.map { .string($0) }, self.replyTo.map { .string($0) },
                self.correlationID?.value, self.contentType.map { .symbol($0) },
                self.contentEncoding.map { .symbol($0) }, self.absoluteExpiryTime.map { .timestamp($0) },
                self.creationTime.map { .timestamp($0) }, self.groupID.map { .string($0) },
                self.groupSequence.map { .uint($0) }, self.replyToGroupID.map { .string($0) },
            ],
            FieldNames.properties,
            mistyped
        )
    }
}

extension FieldNames {
    fileprivate static func list(
        _ typed: [AMQPValue?],
        _ names: [String],
        _ mistyped: [String: AMQPValue]
    ) -> [AMQPValue]? {
        var fields = zip(typed, names).map { $0 ?? mistyped[$1] ?? .null }
        while fields.last == .null { fields.removeLast() }
        return fields.isEmpty ? nil : fields
    }
}
