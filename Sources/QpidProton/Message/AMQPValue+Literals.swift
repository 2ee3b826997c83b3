// SPDX-License-Identifier: Apache-2.0

extension AMQPValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// Creates ``null``.
    public init(nilLiteral: ()) {
        self = .null
    }

    /// Creates a ``bool(_:)``.
    public init(booleanLiteral value: Bool) {
        self = .bool(value)
    }

    /// Creates a ``long(_:)``, the AMQP type of a Swift `Int`. For another width, write the case: `.uint(7)`.
    public init(integerLiteral value: Int64) {
        self = .long(value)
    }

    /// Creates a ``double(_:)``.
    public init(floatLiteral value: Double) {
        self = .double(value)
    }

    /// Creates a ``string(_:)``. For a symbol, write the case: `.symbol("amqp:accepted:list")`.
    public init(stringLiteral value: String) {
        self = .string(value)
    }

    /// Creates a ``list(_:)``.
    public init(arrayLiteral elements: AMQPValue...) {
        self = .list(elements)
    }

    /// Creates a ``map(_:)``. If a key occurs twice, the last value replaces the first.
    public init(dictionaryLiteral elements: (AMQPValue, AMQPValue)...) {
        self = .map(AMQPMap(elements.lazy.map { (key: $0.0, value: $0.1) }))
    }
}
