// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// A point in time in milliseconds.
///
/// Source: AMQP 1.0 §1.6.17.
public struct AMQPTimestamp: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The milliseconds since 1970-01-01 00:00 UTC without leap seconds; may be negative.
    public var millisecondsSinceEpoch: Int64

    /// Creates a point in time from milliseconds since 1970.
    public init(millisecondsSinceEpoch: Int64) {
        self.millisecondsSinceEpoch = millisecondsSinceEpoch
    }

    /// Creates a point in time from a date, rounded to a millisecond. A date out of range becomes the nearest
    /// representable time.
    public init(_ date: Date) {
        let milliseconds = (date.timeIntervalSince1970 * 1000).rounded()
        if let exact = Int64(exactly: milliseconds) {
            self.millisecondsSinceEpoch = exact
        } else {
            self.millisecondsSinceEpoch = milliseconds > 0 ? .max : .min
        }
    }

    /// Returns the current time of the system's clock.
    public static func now() -> AMQPTimestamp {
        AMQPTimestamp(Date())
    }

    /// The date.
    public var date: Date {
        Date(timeIntervalSince1970: Double(self.millisecondsSinceEpoch) / 1000)
    }

    /// The milliseconds since 1970, with the unit.
    public var description: String { "\(self.millisecondsSinceEpoch) ms" }

    /// Returns whether the left time is before the right time.
    public static func < (left: AMQPTimestamp, right: AMQPTimestamp) -> Bool {
        left.millisecondsSinceEpoch < right.millisecondsSinceEpoch
    }
}
