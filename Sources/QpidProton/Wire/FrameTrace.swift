// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

/// The log of each frame of one connection as it is on the wire, at trace level.
///
/// A handler before this one handles SASL frames, so they never arrive here.
final class FrameTrace {
    private let logger: Logger
    private var received = FrameScanner()
    private var sent = FrameScanner()
    private var hasReceived = false
    private var hasSent = false

    init(_ logger: Logger) {
        self.logger = logger
    }

    /// Logs the frames that start in bytes from the socket, before any edit.
    func received(_ bytes: UnsafeRawBufferPointer) {
        if !self.hasReceived { self.log("<- AMQP") }
        self.hasReceived = true
        self.received.consume(bytes) { head in
            self.log(FrameText.text(head, direction: "<-"))
            return nil
        }
    }

    /// Logs the frames in bytes for the socket, after all edits.
    func sent(_ buffer: ByteBuffer) {
        if !self.hasSent { self.log("-> AMQP") }
        self.hasSent = true
        buffer.withUnsafeReadableBytes { bytes in
            self.sent.consume(bytes) { head in
                self.log(FrameText.text(head, direction: "->"))
                return nil
            }
        }
    }

    private func log(_ text: String) {
        self.logger.trace("frame", metadata: .amqp([.frame: "\(text)"]))
    }
}

/// The text form of frames. Source: AMQP 1.0 §2.3.1, §2.7, §3.4 and §3.5.
enum FrameText {
    /// The most characters of one field, and of a frame, in the text.
    private static let fieldLimit = 256
    static let limit = 2_048
    private static let decoding = AMQPDecodingLimits(maximumDepth: 16, maximumElements: 1_024)

    private static let composites: [UInt64: (name: String, fields: [String])] = [
        0x10: (
            "open",
            [
                "container-id", "hostname", "max-frame-size", "channel-max", "idle-time-out", "outgoing-locales",
                "incoming-locales", "offered-capabilities", "desired-capabilities", "properties",
            ]
        ),
        0x11: (
            "begin",
            [
                "remote-channel", "next-outgoing-id", "incoming-window", "outgoing-window", "handle-max",
                "offered-capabilities", "desired-capabilities", "properties",
            ]
        ),
        0x12: (
            "attach",
            [
                "name", "handle", "role", "snd-settle-mode", "rcv-settle-mode", "source", "target", "unsettled",
                "incomplete-unsettled", "initial-delivery-count", "max-message-size", "offered-capabilities",
                "desired-capabilities", "properties",
            ]
        ),
        0x13: (
            "flow",
            [
                "next-incoming-id", "incoming-window", "next-outgoing-id", "outgoing-window", "handle",
                "delivery-count", "link-credit", "available", "drain", "echo", "properties",
            ]
        ),
        0x14: (
            "transfer",
            [
                "handle", "delivery-id", "delivery-tag", "message-format", "settled", "more", "rcv-settle-mode",
                "state", "resume", "aborted", "batchable",
            ]
        ),
        0x15: ("disposition", ["role", "first", "last", "settled", "state", "batchable"]),
        0x16: ("detach", ["handle", "closed", "error"]),
        0x17: ("end", ["error"]),
        0x18: ("close", ["error"]),
        0x1D: ("error", ["condition", "description", "info"]),
        0x23: ("received", ["section-number", "section-offset"]),
        0x24: ("accepted", []),
        0x25: ("rejected", ["error"]),
        0x26: ("released", []),
        0x27: ("modified", ["delivery-failed", "undeliverable-here", "message-annotations"]),
        0x28: (
            "source",
            [
                "address", "durable", "expiry-policy", "timeout", "dynamic", "dynamic-node-properties",
                "distribution-mode", "filter", "default-outcome", "outcomes", "capabilities",
            ]
        ),
        0x29: (
            "target",
            [
                "address", "durable", "expiry-policy", "timeout", "dynamic", "dynamic-node-properties",
                "capabilities",
            ]
        ),
        0x30: ("coordinator", ["capabilities"]),
        0x33: ("declared", ["txn-id"]),
        0x34: ("transactional-state", ["txn-id", "outcome"]),
    ]

    /// Returns a frame in one line: its channel, performative and fields, and the bytes of its payload.
    ///
    /// - Parameter head: The frame, or its first bytes; the text omits the rest.
    static func text(_ head: UnsafeRawBufferPointer, direction: String) -> String {
        guard let prefix = FramePrefix(head) else { return "\(direction) (part of a frame)" }
        let (channel, size) = (prefix.channel, prefix.size)
        guard let offset = prefix.bodyOffset, offset <= head.count else {
            return "\(channel) \(direction) frame of type \(prefix.type), \(size) bytes"
        }
        guard offset < head.count else { return "\(channel) \(direction) (empty frame)" }
        var reader = FieldReader(head, offset: offset)
        guard let descriptor = reader.anyDescriptor(), reader.list() else {
            return "\(channel) \(direction) no performative, \(size) bytes"
        }
        let (title, names) = Self.title(descriptor)
        var fields: [String] = []
        var number = 0
        while reader.hasMore {
            guard let range = reader.nextField() else {
                fields.append("…")
                break
            }
            var bytes = ByteBuffer(bytes: head[range])
            let value = try? AMQPValue(decoding: &bytes, limits: Self.decoding)
            let text = value.map { Self.text($0) } ?? "(\(range.count) bytes)"
            if value != .null { fields.append("\(Self.name(number, names))=\(Self.cut(text, Self.fieldLimit))") }
            number += 1
        }
        let payload = max(0, size - reader.end)
        let rest = payload > 0 ? " (\(payload) bytes)" : ""
        let line = "\(channel) \(direction) @\(title) [\(fields.joined(separator: ", "))]"
        return Self.cut(Self.escaped(line), Self.limit) + rest
    }

    private static func text(_ value: AMQPValue) -> String {
        guard case .described(let described) = value, case .list(let fields) = described.value else {
            return "\(value)"
        }
        let title: String
        let names: [String]
        switch described.descriptor {
        case .ulong(let code): (title, names) = Self.title(.code(code))
        case .symbol(let name): (title, names) = Self.title(.name(name.rawValue))
        default: return "\(value)"
        }
        let texts = fields.enumerated().compactMap { number, value in
            value == .null ? nil : "\(Self.name(number, names))=\(Self.text(value))"
        }
        return "@\(title) [\(texts.joined(separator: ", "))]"
    }

    private static func title(_ descriptor: FieldReader.Descriptor) -> (String, [String]) {
        switch descriptor {
        case .code(let code):
            guard let known = Self.composites[code] else { return ("0x\(String(code, radix: 16))", []) }
            return ("\(known.name)(\(code))", known.fields)
        case .name(let name):
            let known = Self.composites.values.first { "amqp:\($0.name):list" == name }
            return (name, known?.fields ?? [])
        }
    }

    private static func name(_ number: Int, _ names: [String]) -> String {
        number < names.count ? names[number] : "field-\(number)"
    }

    private static func cut(_ text: String, _ limit: Int) -> String {
        text.count > limit ? text.prefix(limit) + "…" : text
    }

    /// Escapes control characters, so that a peer cannot forge lines of the log.
    private static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return text }
        return text.unicodeScalars.reduce(into: "") { result, scalar in
            if scalar.properties.generalCategory == .control {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
}
