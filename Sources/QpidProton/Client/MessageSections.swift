// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The sections of an encoded message before the bare message: a sender may change them.
///
/// Source: AMQP 1.0 §3.2.
struct MessageSections {
    private enum Descriptor {
        static let header: UInt64 = 0x70
        static let deliveryAnnotations: UInt64 = 0x71
        static let messageAnnotations: UInt64 = 0x72
    }

    /// The annotation of a message that may have been sent before.
    static let replayed: AMQPSymbol = "x-opt-replayed"

    private var header: AMQPValue?
    private var deliveryAnnotations: AMQPValue?
    private var messageAnnotations: AMQPValue?
    /// The bare message and the footer.
    private let rest: ByteBuffer

    /// Splits a message; `nil` if it does not begin like a message.
    init?(_ encoded: ByteBuffer) {
        var rest = encoded
        while rest.readableBytes > 0 {
            var next = rest
            guard let kind = Self.kind(of: rest) else { break }
            guard let value = try? AMQPValue(decoding: &next), case .described(let section) = value else { return nil }
            switch kind {
            case Descriptor.header: self.header = section.value
            case Descriptor.deliveryAnnotations: self.deliveryAnnotations = section.value
            default: self.messageAnnotations = section.value
            }
            rest = next
        }
        self.rest = rest
    }

    /// Returns the descriptor of the section that begins here, if it is one of the three; `nil` for any other bytes.
    private static func kind(of bytes: ByteBuffer) -> UInt64? {
        let index = bytes.readerIndex
        guard bytes.getInteger(at: index, as: UInt8.self) == 0x00 else { return nil }
        let kind: UInt64? =
            switch bytes.getInteger(at: index + 1, as: UInt8.self) {
            case 0x53: bytes.getInteger(at: index + 2, as: UInt8.self).map { UInt64($0) }
            case 0x80: bytes.getInteger(at: index + 2, as: UInt64.self)
            default: nil
            }
        return kind.flatMap { (Descriptor.header...Descriptor.messageAnnotations).contains($0) ? $0 : nil }
    }

    /// The time to live in the header. Source: AMQP 1.0 §3.2.1.
    var timeToLive: Duration? {
        guard case .list(let fields)? = self.header, fields.count > 2, case .uint(let time) = fields[2] else {
            return nil
        }
        return .milliseconds(time)
    }

    mutating func setTimeToLive(_ time: Duration) {
        guard case .list(var fields)? = self.header, fields.count > 2 else { return }
        fields[2] = .uint(UInt32(clamping: max(1, time.milliseconds)))
        self.header = .list(fields)
    }

    mutating func markAsReplayed() {
        var annotations: AMQPMap = [:]
        if case .map(let map)? = self.messageAnnotations { annotations = map }
        annotations[symbol: Self.replayed] = true
        self.messageAnnotations = .map(annotations)
    }

    /// Returns the message with the changed sections; `nil` if it cannot be encoded.
    func encoded() -> ByteBuffer? {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(self.rest.readableBytes + 256)
        let sections = [
            (Descriptor.header, self.header), (Descriptor.deliveryAnnotations, self.deliveryAnnotations),
            (Descriptor.messageAnnotations, self.messageAnnotations),
        ]
        do throws(AMQPError) {
            for case (let descriptor, let value?) in sections {
                try AMQPValue.described(AMQPDescribed(descriptor: .ulong(descriptor), value: value))
                    .encode(into: &buffer)
            }
        } catch {
            return nil
        }
        buffer.writeImmutableBuffer(self.rest)
        return buffer
    }
}
