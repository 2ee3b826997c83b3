// SPDX-License-Identifier: Apache-2.0

/// The primitive types of AMQP 1.0.
///
/// Source: AMQP 1.0 §1.6.
public enum AMQPType: String, Hashable, Sendable, CaseIterable {
    /// §1.6.1
    case null
    /// §1.6.2, "boolean" in the specification
    case bool = "boolean"
    /// §1.6.3
    case ubyte
    /// §1.6.4
    case ushort
    /// §1.6.5
    case uint
    /// §1.6.6
    case ulong
    /// §1.6.7
    case byte
    /// §1.6.8
    case short
    /// §1.6.9
    case int
    /// §1.6.10
    case long
    /// §1.6.11
    case float
    /// §1.6.12
    case double
    /// §1.6.13
    case decimal32
    /// §1.6.14
    case decimal64
    /// §1.6.15
    case decimal128
    /// §1.6.16
    case char
    /// §1.6.17
    case timestamp
    /// §1.6.18
    case uuid
    /// §1.6.19
    case binary
    /// §1.6.20
    case string
    /// §1.6.21
    case symbol
    /// §1.6.22
    case list
    /// §1.6.23
    case map
    /// §1.6.24
    case array
}
