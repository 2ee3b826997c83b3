// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The parts of a message that a consumer reads: the sections before the body, as far as they are valid.
///
/// Source: AMQP 1.0 §3.2.
struct ConsumerEnvelope: Sendable {
    /// How often the message has failed, by the peer's count.
    private(set) var failures = 0
    /// Whether the peer reports that no other receiver had the message before.
    private(set) var isFirst = false
    private(set) var groupID: String?
    /// The offset of a message of a RabbitMQ stream.
    private(set) var streamOffset: UInt64?
    private var messageID: AMQPValue?
    /// The properties and the rest of the message.
    private var bare: ByteBuffer

    init(_ encoded: ByteBuffer) {
        self.bare = encoded
        while let kind = Self.kind(of: self.bare) {
            var next = self.bare
            guard let value = try? AMQPValue(decoding: &next), case .described(let section) = value else { return }
            switch (kind, section.value) {
            case (0x70, .list(let fields)): self.readHeader(fields)
            case (0x72, .map(let annotations)):
                self.streamOffset = annotations[symbol: "x-stream-offset"]?.uintValue
            case (0x73, .list(let fields)):
                if let id = fields.first, id != .null { self.messageID = id }
                if fields.count > 10, case .string(let group) = fields[10] { self.groupID = group }
            default: break
            }
            if kind == 0x73 { return }
            self.bare = next
        }
    }

    private mutating func readHeader(_ fields: [AMQPValue]) {
        if fields.count > 3, fields[3] == .bool(true) { self.isFirst = true }
        if fields.count > 4, case .uint(let count) = fields[4] { self.failures = Int(count) }
    }

    /// A hash that identifies the message when it arrives again.
    var identity: Int {
        var hasher = Hasher()
        if let messageID = self.messageID {
            hasher.combine(messageID)
        } else {
            hasher.combine(self.bare)
        }
        return hasher.finalize()
    }

    /// Returns the descriptor of the section that begins here, from the header to the properties; `nil` for any other
    /// bytes.
    private static func kind(of bytes: ByteBuffer) -> UInt64? {
        let index = bytes.readerIndex
        guard bytes.getInteger(at: index, as: UInt8.self) == 0x00 else { return nil }
        let kind: UInt64? =
            switch bytes.getInteger(at: index + 1, as: UInt8.self) {
            case 0x53: bytes.getInteger(at: index + 2, as: UInt8.self).map { UInt64($0) }
            case 0x80: bytes.getInteger(at: index + 2, as: UInt64.self)
            default: nil
            }
        return kind.flatMap { (0x70...0x73).contains($0) ? $0 : nil }
    }
}
