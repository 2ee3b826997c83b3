// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton
import TestSupport

extension CanonicalText {
    /// Returns the messages of a catalogue in Peers/, in the canonical text.
    static func catalogue(_ name: String) throws -> [String] {
        let path = Repository.path("Tests/IntegrationTests/Peers/\(name).jsonl")
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    /// Returns the message of a canonical text.
    static func message(_ text: String) throws -> AMQPMessage {
        let object = try JSON(JSONSerialization.jsonObject(with: Data(text.utf8)))
        var message = AMQPMessage()
        for (name, section) in try object.fields() {
            switch name {
            case "header": message.header = try Self.header(section.fields())
            case "delivery-annotations": message.deliveryAnnotations = try Self.map(section)
            case "message-annotations": message.messageAnnotations = try Self.map(section)
            case "properties": message.properties = try Self.properties(section.fields())
            case "application-properties": message.applicationProperties = try Self.map(section)
            case "footer": message.footer = try Self.map(section)
            case "body": message.body = try Self.body(section.elements())
            default: throw JSON.Unexpected(what: "a section '\(name)'")
            }
        }
        return message
    }

    private static func header(_ fields: [String: JSON]) throws -> AMQPHeader {
        var header = AMQPHeader()
        for (name, field) in fields {
            let value = try Self.value(field)
            switch (name, value) {
            case ("durable", .bool(let value)): header.durable = value
            case ("priority", .ubyte(let value)): header.priority = value
            case ("ttl", .uint(let value)): header.timeToLive = .milliseconds(value)
            case ("first-acquirer", .bool(let value)): header.firstAcquirer = value
            case ("delivery-count", .uint(let value)): header.deliveryCount = value
            default: throw JSON.Unexpected(what: "a header with \(name) \(value)")
            }
        }
        return header
    }

    private static func properties(_ fields: [String: JSON]) throws -> AMQPProperties {
        var properties = AMQPProperties()
        for (name, field) in fields {
            let value = try Self.value(field)
            switch name {
            case "message-id": properties.messageID = AMQPMessageID(value)
            case "user-id": properties.userID = value.binaryValue
            case "to": properties.to = value.stringValue
            case "subject": properties.subject = value.stringValue
            case "reply-to": properties.replyTo = value.stringValue
            case "correlation-id": properties.correlationID = AMQPMessageID(value)
            case "content-type": properties.contentType = value.symbolValue
            case "content-encoding": properties.contentEncoding = value.symbolValue
            case "absolute-expiry-time": properties.absoluteExpiryTime = value.timestampValue
            case "creation-time": properties.creationTime = value.timestampValue
            case "group-id": properties.groupID = value.stringValue
            case "group-sequence": properties.groupSequence = value.uintValue.map { UInt32($0) }
            case "reply-to-group-id": properties.replyToGroupID = value.stringValue
            default: throw JSON.Unexpected(what: "a property \(name)")
            }
        }
        return properties
    }

    private static func body(_ sections: [JSON]) throws -> AMQPMessage.Body {
        let kinds = try Set(sections.map { try $0["section"].text() })
        switch kinds {
        case ["data"]: return .data(try sections.map { ByteBuffer(bytes: try Self.bytes($0["v"].text())) })
        case ["amqp-sequence"]: return .sequence(try sections.map { try $0["v"].elements().map(Self.value) })
        case ["amqp-value"]: return .value(try Self.value(sections[0]["v"]))
        default: throw JSON.Unexpected(what: "a body of \(kinds)")
        }
    }

    private static func map(_ pairs: JSON) throws -> AMQPMap {
        AMQPMap(
            try pairs.elements().map { pair in
                let pair = try pair.elements()
                return (key: try Self.value(pair[0]), value: try Self.value(pair[1]))
            }
        )
    }

    private static func value(_ json: JSON) throws -> AMQPValue {
        let name = try json["t"].text()
        switch name {
        case "null": return .null
        case "list": return .list(try json["v"].elements().map(Self.value))
        case "map": return .map(try Self.map(json["v"]))
        case "described":
            let (descriptor, value) = (try Self.value(json["descriptor"]), try Self.value(json["v"]))
            return .described(AMQPDescribed(descriptor: descriptor, value: value))
        case "array":
            guard let type = AMQPType(rawValue: try json["of"].text()) else { throw JSON.Unexpected(what: "a type") }
            var elements = try json["v"].elements().map(Self.value)
            var descriptors: [AMQPValue] = []
            if json.has("descriptor") {
                let descriptor = try Self.value(json["descriptor"])
                descriptors = [descriptor]
                elements = elements.map { .described(AMQPDescribed(descriptor: descriptor, value: $0)) }
            }
            if elements.isEmpty { return .array(AMQPArray(emptyOf: type, descriptors: descriptors)) }
            return .array(try AMQPArray(elements))
        default:
            let text = try json["v"].text()
            guard let value = try Self.scalar(name, text) else { throw JSON.Unexpected(what: "\(name) \(text)") }
            return value
        }
    }

    private static func scalar(_ name: String, _ text: String) throws -> AMQPValue? {
        switch name {
        case "boolean": Bool(text).map { .bool($0) }
        case "ubyte": UInt8(text).map { .ubyte($0) }
        case "ushort": UInt16(text).map { .ushort($0) }
        case "uint": UInt32(text).map { .uint($0) }
        case "ulong": UInt64(text).map { .ulong($0) }
        case "byte": Int8(text).map { .byte($0) }
        case "short": Int16(text).map { .short($0) }
        case "int": Int32(text).map { .int($0) }
        case "long": Int64(text).map { .long($0) }
        case "timestamp": Int64(text).map { .timestamp(AMQPTimestamp(millisecondsSinceEpoch: $0)) }
        case "char": UInt32(text).flatMap(Unicode.Scalar.init).map { .char($0) }
        case "float": UInt32(text, radix: 16).map { .float(Float(bitPattern: $0)) }
        case "double": UInt64(text, radix: 16).map { .double(Double(bitPattern: $0)) }
        case "decimal32": UInt32(text, radix: 16).map { .decimal32(AMQPDecimal32(bitPattern: $0)) }
        case "decimal64": UInt64(text, radix: 16).map { .decimal64(AMQPDecimal64(bitPattern: $0)) }
        case "decimal128":
            UInt64(text.prefix(16), radix: 16).flatMap { high in
                UInt64(text.dropFirst(16), radix: 16).map { .decimal128(AMQPDecimal128(high: high, low: $0)) }
            }
        case "uuid":
            .uuid(try Self.bytes(text).withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) })
        case "binary": .binary(ByteBuffer(bytes: try Self.bytes(text)))
        case "string": .string(text)
        case "symbol": .symbol(AMQPSymbol(text))
        default: nil
        }
    }

    private static func bytes(_ hex: String) throws -> [UInt8] {
        let digits = Array(hex.utf8)
        return try stride(from: 0, to: digits.count, by: 2).map { index in
            let pair = String(decoding: digits[index..<min(index + 2, digits.count)], as: UTF8.self)
            guard let byte = UInt8(pair, radix: 16) else { throw JSON.Unexpected(what: "the hex \(pair)") }
            return byte
        }
    }
}

/// A parsed piece of JSON. Each accessor throws if the piece has another type.
struct JSON {
    struct Unexpected: Error { let what: String }

    private let any: Any

    init(_ any: Any) { self.any = any }

    func fields() throws -> [String: JSON] {
        guard let fields = self.any as? [String: Any] else { throw Unexpected(what: "no object: \(self.any)") }
        return fields.mapValues { JSON($0) }
    }

    func elements() throws -> [JSON] {
        guard let elements = self.any as? [Any] else { throw Unexpected(what: "no array: \(self.any)") }
        return elements.map { JSON($0) }
    }

    func text() throws -> String {
        guard let text = self.any as? String else { throw Unexpected(what: "no string: \(self.any)") }
        return text
    }

    func has(_ key: String) -> Bool { (self.any as? [String: Any])?[key] != nil }

    subscript(_ key: String) -> JSON { JSON((self.any as? [String: Any])?[key] ?? "") }
}
