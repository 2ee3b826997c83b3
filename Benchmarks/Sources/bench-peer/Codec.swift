import ArgumentParser
import Foundation
import NIOCore
import QpidProton

struct Codec: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec",
        abstract: "Encodes and decodes a message, without a network."
    )

    enum Subject: String, ExpressibleByArgument { case message, map }

    @Argument var subject: Subject
    @Option var count: Int

    mutating func validate() throws {
        guard self.count > 0 else { throw ValidationError("--count takes 1 or more") }
    }

    func run() async throws {
        let message = self.subject == .message ? Self.message : Self.map
        let clock = ContinuousClock()
        var buffer = ByteBuffer()
        let encoding = try clock.measure {
            for _ in 0..<self.count {
                buffer.clear()
                try message.encode(into: &buffer)
            }
        }
        var read = 0
        let decoding = try clock.measure {
            for _ in 0..<self.count { read += try Self.read(AMQPMessage(decoding: buffer)) }
        }
        guard read > 0 else { throw Failure("nothing was read") }
        var usage = Usage()
        usage.encodedBytes = buffer.readableBytes
        usage.encodeNs = encoding / .nanoseconds(1) / Double(self.count)
        usage.decodeNs = decoding / .nanoseconds(1) / Double(self.count)
        try usage.print()
    }

    private static let text = "sixteen letters!"

    private static var message: AMQPMessage {
        var message = AMQPMessage(body: Send.body(1_024))
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

    private static var map: AMQPMessage {
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

    /// Looks at every field, so that nothing is left to be decoded.
    private static func read(_ message: AMQPMessage) throws -> Int {
        var count = 0
        if message.properties.messageID != nil { count += 1 }
        if message.properties.subject != nil, message.properties.to != nil, message.properties.replyTo != nil {
            count += 3
        }
        if message.properties.userID != nil, message.properties.correlationID != nil { count += 2 }
        if message.properties.contentType != nil, message.properties.creationTime != nil { count += 2 }
        for (key, value) in message.applicationProperties { count += self.read(key) + self.read(value) }
        if let bytes = message.bodyBytes { return count + bytes.readableBytes }
        guard case .value(.map(let map)) = message.body else {
            throw Failure("the body is not the one that was encoded")
        }
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
