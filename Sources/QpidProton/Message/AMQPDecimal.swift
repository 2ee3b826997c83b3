// SPDX-License-Identifier: Apache-2.0

/// The 32 bits of an IEEE 754 decimal32 number. The library transports the bits and does not compute with them.
///
/// Source: AMQP 1.0 §1.6.13 (BID encoding).
public struct AMQPDecimal32: Hashable, Sendable, CustomStringConvertible {
    /// The bits.
    public var bitPattern: UInt32

    /// Creates a number from its bits.
    public init(bitPattern: UInt32) {
        self.bitPattern = bitPattern
    }

    /// The bits in hexadecimal.
    public var description: String { "decimal32(0x\(String(self.bitPattern, radix: 16)))" }
}

/// The 64 bits of an IEEE 754 decimal64 number. The library transports the bits and does not compute with them.
///
/// Source: AMQP 1.0 §1.6.14 (BID encoding).
public struct AMQPDecimal64: Hashable, Sendable, CustomStringConvertible {
    /// The bits.
    public var bitPattern: UInt64

    /// Creates a number from its bits.
    public init(bitPattern: UInt64) {
        self.bitPattern = bitPattern
    }

    /// The bits in hexadecimal.
    public var description: String { "decimal64(0x\(String(self.bitPattern, radix: 16)))" }
}

/// The 128 bits of an IEEE 754 decimal128 number. The library transports the bits and does not compute with them.
///
/// Source: AMQP 1.0 §1.6.15 (BID encoding).
public struct AMQPDecimal128: Hashable, Sendable, CustomStringConvertible {
    /// The upper 64 bits, which are first on the wire.
    public var high: UInt64
    /// The lower 64 bits.
    public var low: UInt64

    /// Creates a number from its bits.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The bits in hexadecimal.
    public var description: String {
        "decimal128(0x\(String(self.high, radix: 16)), 0x\(String(self.low, radix: 16)))"
    }
}
