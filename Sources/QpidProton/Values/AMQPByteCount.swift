// SPDX-License-Identifier: Apache-2.0

/// A number of bytes.
public struct AMQPByteCount: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// The number of bytes, never negative.
    public let bytes: Int

    /// Creates a count of bytes; a negative number counts as 0.
    public init(_ bytes: Int) {
        self.bytes = max(0, bytes)
    }

    /// Creates a count of bytes from a literal.
    public init(integerLiteral value: Int) {
        self.init(value)
    }

    /// Creates a count of bytes.
    public static func bytes(_ count: Int) -> Self { Self(count) }
    /// Creates a count in units of 1,024 bytes.
    public static func kibibytes(_ count: Int) -> Self { Self.times(count, 1 << 10) }
    /// Creates a count in units of 1,048,576 bytes.
    public static func mebibytes(_ count: Int) -> Self { Self.times(count, 1 << 20) }
    /// Creates a count in units of 1,073,741,824 bytes.
    public static func gibibytes(_ count: Int) -> Self { Self.times(count, 1 << 30) }

    init(clamping bytes: UInt64) { self.init(Int(clamping: bytes)) }

    private static func times(_ count: Int, _ unit: Int) -> Self {
        let (product, isTooLarge) = max(0, count).multipliedReportingOverflow(by: unit)
        return Self(isTooLarge ? .max : product)
    }

    /// Compares the numbers of bytes.
    public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }

    /// The count in the largest unit that divides it.
    public var description: String {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] where self.bytes >= 1 << shift {
            if self.bytes % (1 << shift) == 0 { return "\(self.bytes >> shift) \(unit)" }
        }
        return "\(self.bytes) B"
    }
}
