// SPDX-License-Identifier: Apache-2.0

/// A value with a descriptor, which defines the value's meaning.
///
/// Source: AMQP 1.0 §1.2 and §1.3.
public struct AMQPDescribed: Hashable, Sendable, CustomStringConvertible {
    /// The descriptor, usually a `ulong` or a symbol.
    public var descriptor: AMQPValue
    /// The value.
    public var value: AMQPValue

    /// Creates a described value.
    public init(descriptor: AMQPValue, value: AMQPValue) {
        self.descriptor = descriptor
        self.value = value
    }

    /// A readable text: `@descriptor value`.
    public var description: String { "@\(self.descriptor) \(self.value)" }
}
