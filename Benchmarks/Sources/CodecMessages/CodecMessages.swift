// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
public import QpidProton

/// The two messages of the codec benchmark, equal to those of the other contenders.
public enum CodecMessages {
    private static let text = "sixteen letters!"

    /// A message with properties, ten application properties, and a body of 1,024 bytes.
    public static var message: AMQPMessage {
        var message = AMQPMessage(body: ByteBuffer(repeating: UInt8(ascii: "x"), count: 1_024))
        message.properties.messageID = .ulong(42)
        message.properties.userID = ByteBuffer(string: "guest")
        message.properties.to = "queue/orders"
        message.properties.subject = "an order"
        message.properties.replyTo = "queue/answers"
        message.properties.correlationID = .string("7f3a-12")
        message.properties.contentType = "application/octet-stream"
        message.properties.creationTime = .now()
        for index in 0..<5 { message.applicationProperties["string-\(index)"] = .string(self.text) }
        for index in 0..<3 { message.applicationProperties["int-\(index)"] = .int(Int32(1_000 * index)) }
        message.applicationProperties["double"] = .double(2.5)
        message.applicationProperties["boolean"] = .bool(true)
        return message
    }

    /// A message with a map of 100 entries as the body.
    public static var map: AMQPMessage {
        var map = AMQPMap()
        for index in 0..<100 {
            let key = index < 10 ? "key-0\(index)" : "key-\(index)"
            map[key] =
                switch index % 4 {
                case 0: .int(Int32(1_000 + index))
                case 1: .string(self.text)
                case 2: .double(Double(index) / 4)
                default: .bool(index.isMultiple(of: 8))
                }
        }
        return AMQPMessage(body: .map(map))
    }

    /// Reads every field, so that all are decoded. Returns `nil` if the body is neither of the two.
    public static func read(_ message: AMQPMessage) -> Int? {
        var count = 0
        if message.properties.messageID != nil { count += 1 }
        if message.properties.subject != nil, message.properties.to != nil, message.properties.replyTo != nil {
            count += 3
        }
        if message.properties.userID != nil, message.properties.correlationID != nil { count += 2 }
        if message.properties.contentType != nil, message.properties.creationTime != nil { count += 2 }
        for (key, value) in message.applicationProperties { count += self.read(key) + self.read(value) }
        if let bytes = message.bodyBytes { return count + bytes.readableBytes }
        guard case .value(.map(let map)) = message.body else { return nil }
        for (key, value) in map { count += self.read(key) + self.read(value) }
        return count
    }

    private static func read(_ value: AMQPValue) -> Int {
        switch value {
        case .string(let text): text.utf8.count
        case .int(let number): number > 0 ? 1 : 0
        case .double(let number): number > 0 ? 1 : 0
        case .bool(let flag): flag ? 1 : 0
        default: 0
        }
    }
}
