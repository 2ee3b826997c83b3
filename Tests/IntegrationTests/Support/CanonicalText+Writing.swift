// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton

/// The canonical text of a message, which Peers/README.md defines: one line of JSON.
enum CanonicalText {
    /// Returns the canonical text of a message.
    static func of(_ message: AMQPMessage) -> String {
        var sections: [(String, String)] = []
        let maps = [
            "delivery-annotations": message.deliveryAnnotations, "message-annotations": message.messageAnnotations,
            "application-properties": message.applicationProperties, "footer": message.footer,
        ]
        for name in Self.sections {
            if name == "header", !message.header.isEmpty {
                sections.append((name, Self.object(Self.header(message.header))))
            } else if name == "properties", !message.properties.isEmpty {
                sections.append((name, Self.object(Self.properties(message.properties))))
            } else if name == "body" {
                if let body = Self.body(message.body) { sections.append((name, body)) }
            } else if let map = maps[name], !map.isEmpty {
                sections.append((name, Self.pairs(map)))
            }
        }
        return "{" + sections.map { "\(Self.quote($0)):\($1)" }.joined(separator: ",") + "}"
    }

    static let sections = [
        "header", "delivery-annotations", "message-annotations", "properties", "application-properties", "body",
        "footer",
    ]

    private static func header(_ header: AMQPHeader) -> [(String, AMQPValue)] {
        var fields: [(String, AMQPValue)] = []
        if header.durable { fields.append(("durable", .bool(true))) }
        if header.priority != 4 { fields.append(("priority", .ubyte(header.priority))) }
        if let time = header.timeToLive {
            let milliseconds = time.components.seconds * 1000 + time.components.attoseconds / 1_000_000_000_000_000
            fields.append(("ttl", .uint(UInt32(milliseconds))))
        }
        if header.firstAcquirer { fields.append(("first-acquirer", .bool(true))) }
        if header.deliveryCount != 0 { fields.append(("delivery-count", .uint(header.deliveryCount))) }
        return fields
    }

    private static func properties(_ properties: AMQPProperties) -> [(String, AMQPValue)] {
        let fields: [(String, AMQPValue?)] = [
            ("message-id", properties.messageID?.value),
            ("user-id", properties.userID.map { .binary($0) }),
            ("to", properties.to.map { .string($0) }),
            ("subject", properties.subject.map { .string($0) }),
            ("reply-to", properties.replyTo.map { .string($0) }),
            ("correlation-id", properties.correlationID?.value),
            ("content-type", properties.contentType.map { .symbol($0) }),
            ("content-encoding", properties.contentEncoding.map { .symbol($0) }),
            ("absolute-expiry-time", properties.absoluteExpiryTime.map { .timestamp($0) }),
            ("creation-time", properties.creationTime.map { .timestamp($0) }),
            ("group-id", properties.groupID.map { .string($0) }),
            ("group-sequence", properties.groupSequence.map { .uint($0) }),
            ("reply-to-group-id", properties.replyToGroupID.map { .string($0) }),
        ]
        return fields.compactMap { name, value in value.map { (name, $0) } }
    }

    private static func object(_ fields: [(String, AMQPValue)]) -> String {
        "{" + fields.map { "\(Self.quote($0)):\(Self.value($1))" }.joined(separator: ",") + "}"
    }

    private static func pairs(_ map: AMQPMap) -> String {
        "[" + map.map { "[\(Self.value($0.key)),\(Self.value($0.value))]" }.joined(separator: ",") + "]"
    }

    private static func list(_ values: some Sequence<AMQPValue>) -> String {
        "[" + values.map(Self.value).joined(separator: ",") + "]"
    }

    private static func body(_ body: AMQPMessage.Body) -> String? {
        let sections: [(String, String)]
        switch body {
        case .empty: return nil
        case .data(let parts): sections = parts.map { ("data", Self.quote(Self.hex($0.readableBytesView))) }
        case .sequence(let parts): sections = parts.map { ("amqp-sequence", Self.list($0)) }
        case .value(let value): sections = [("amqp-value", Self.value(value))]
        }
        return "[" + sections.map { "{\"section\":\"\($0)\",\"v\":\($1)}" }.joined(separator: ",") + "]"
    }

    private static func value(_ value: AMQPValue) -> String {
        func scalar(_ text: String) -> String {
            "{\"t\":\"\(value.type?.rawValue ?? "")\",\"v\":\(Self.quote(text))}"
        }
        switch value {
        case .null: return "{\"t\":\"null\"}"
        case .bool(let value): return scalar("\(value)")
        case .ubyte(let value): return scalar("\(value)")
        case .ushort(let value): return scalar("\(value)")
        case .uint(let value): return scalar("\(value)")
        case .ulong(let value): return scalar("\(value)")
        case .byte(let value): return scalar("\(value)")
        case .short(let value): return scalar("\(value)")
        case .int(let value): return scalar("\(value)")
        case .long(let value): return scalar("\(value)")
        case .timestamp(let value): return scalar("\(value.millisecondsSinceEpoch)")
        case .char(let value): return scalar("\(value.value)")
        case .float(let value): return scalar(Self.hex(value.bitPattern))
        case .double(let value): return scalar(Self.hex(value.bitPattern))
        case .decimal32(let value): return scalar(Self.hex(value.bitPattern))
        case .decimal64(let value): return scalar(Self.hex(value.bitPattern))
        case .decimal128(let value): return scalar(Self.hex(value.high) + Self.hex(value.low))
        case .uuid(let value): return scalar(withUnsafeBytes(of: value.uuid) { Self.hex($0) })
        case .binary(let value): return scalar(Self.hex(value.readableBytesView))
        case .string(let value): return scalar(value)
        case .symbol(let value): return scalar(value.rawValue)
        case .list(let values): return "{\"t\":\"list\",\"v\":\(Self.list(values))}"
        case .map(let map): return "{\"t\":\"map\",\"v\":\(Self.pairs(map))}"
        case .array(let array):
            let descriptor = array.descriptors.first.map { ",\"descriptor\":\(Self.value($0))" } ?? ""
            let elements = array.map { descriptor.isEmpty ? $0 : $0.describedValue?.value ?? .null }
            return
                "{\"t\":\"array\",\"of\":\"\(array.elementType.rawValue)\"\(descriptor),\"v\":\(Self.list(elements))}"
        case .described(let value):
            let descriptor = Self.value(value.descriptor)
            return "{\"t\":\"described\",\"descriptor\":\(descriptor),\"v\":\(Self.value(value.value))}"
        }
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func hex<Number: FixedWidthInteger>(_ number: Number) -> String {
        withUnsafeBytes(of: number.bigEndian) { Self.hex($0) }
    }

    private static func quote(_ text: String) -> String {
        let escapes: [Unicode.Scalar: String] = [
            "\"": "\\\"", "\\": "\\\\", "\u{8}": "\\b", "\u{c}": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
        ]
        var quoted = "\""
        for scalar in text.unicodeScalars {
            if let escape = escapes[scalar] {
                quoted += escape
            } else if scalar.value < 0x20 {
                quoted += "\\u00" + Self.hex(CollectionOfOne(UInt8(scalar.value)))
            } else {
                quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
