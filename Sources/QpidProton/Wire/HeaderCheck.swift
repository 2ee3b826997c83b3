// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The check that a peer starts with the AMQP 1.0 header, before any byte reaches Proton.
///
/// Proton would accept other headers too, and answer them with a SASL or TLS layer of its own.
struct HeaderCheck {
    static let expected: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]
    private static let count = 8
    private var seen = 0
    /// Whether the peer has sent the whole header.
    var isPassed: Bool { self.seen == Self.count }

    /// Returns the error that refuses the peer; `nil` if its bytes are as expected.
    mutating func check(_ buffer: ByteBuffer) -> AMQPError? {
        guard self.seen < Self.expected.count else { return nil }
        let bytes = buffer.readableBytesView.prefix(Self.expected.count - self.seen)
        guard bytes.elementsEqual(Self.expected[self.seen..<self.seen + bytes.count]) else {
            // This is the header of the SASL layer: the peer requires a login. Source: AMQP 1.0 §5.3.2.
            if self.seen <= 4, bytes.count + self.seen >= 5, bytes[bytes.startIndex + 4 - self.seen] == 3 {
                return AMQPError(
                    scope: .connection,
                    condition: .connectionFramingError,
                    detail: "the peer starts with SASL instead of AMQP: configure a login (`sasl`)",
                    ending: .refused
                )
            }
            let isForeign = self.seen == 0 && bytes.first != Self.expected[0]
            let hint = isForeign ? ": it speaks \(ProtocolHeader.foreign(Array(bytes)).explanation)" : ""
            let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
            return AMQPError(
                scope: .connection,
                condition: .connectionFramingError,
                detail:
                    "the peer does not speak AMQP 1.0: instead of the protocol header it sent the bytes \(hex)\(hint)"
            )
        }
        self.seen += bytes.count
        return nil
    }
}
