// SPDX-License-Identifier: Apache-2.0

/// A sequence of values of one type.
///
/// All elements share one constructor: the same primitive type and, if they are described, the same descriptors. An
/// empty array has an element type too. Described elements are ``AMQPValue/described(_:)`` values.
///
/// Source: AMQP 1.0 §1.6.24.
public struct AMQPArray: Hashable, Sendable {
    /// The elements.
    public let elements: [AMQPValue]
    /// The elements' descriptors, outermost first; empty if the elements are not described.
    public let descriptors: [AMQPValue]
    /// The elements' primitive type, below their descriptors.
    public let elementType: AMQPType

    /// Creates an array of at least one value.
    ///
    /// - Throws: `local:invalid-argument` if the values differ in type or descriptor, or if there is no value. Use
    ///   ``init(emptyOf:descriptors:)`` for an empty array.
    public init(_ elements: [AMQPValue]) throws(AMQPError) {
        guard let first = elements.first else {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "an array without elements needs a type: use init(emptyOf:descriptors:)"
            )
        }
        let (descriptors, type) = first.constructor
        for (index, element) in elements.enumerated() where !element.has(descriptors[...], type) {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "element \(index) of the array has another type than the first one"
            )
        }
        self.init(uniform: elements, type: type, descriptors: descriptors)
    }

    /// Creates an empty array of a type.
    public init(emptyOf type: AMQPType, descriptors: [AMQPValue] = []) {
        self.init(uniform: [], type: type, descriptors: descriptors)
    }

    /// Creates an array of symbols, the form of capabilities.
    public init(symbols: [AMQPSymbol]) {
        self.init(uniform: symbols.map { .symbol($0) }, type: .symbol, descriptors: [])
    }

    /// Creates an array of strings.
    public init(strings: [String]) {
        self.init(uniform: strings.map { .string($0) }, type: .string, descriptors: [])
    }

    /// Creates an array of elements whose common type the caller has checked.
    init(uniform elements: [AMQPValue], type: AMQPType, descriptors: [AMQPValue]) {
        self.elements = elements
        self.descriptors = descriptors
        self.elementType = type
    }
}

extension AMQPArray: RandomAccessCollection, CustomStringConvertible {
    /// The first element's index, 0.
    public var startIndex: Int { 0 }
    /// The number of elements.
    public var endIndex: Int { self.elements.count }
    /// The element at an index.
    public subscript(position: Int) -> AMQPValue { self.elements[position] }

    /// A readable text: `type[element, …]`.
    public var description: String {
        let descriptors = self.descriptors.map { "@\($0) " }.joined()
        return "\(descriptors)\(self.elementType.rawValue)[\(self.map(\.description).joined(separator: ", "))]"
    }
}

extension AMQPValue {
    /// The descriptors, outermost first, and the type below them.
    fileprivate var constructor: (descriptors: [AMQPValue], type: AMQPType) {
        var descriptors: [AMQPValue] = []
        var value = self
        while case .described(let described) = value {
            descriptors.append(described.descriptor)
            value = described.value
        }
        return (descriptors, value.type ?? .null)
    }

    fileprivate func has(_ descriptors: ArraySlice<AMQPValue>, _ type: AMQPType) -> Bool {
        var value = self
        for descriptor in descriptors {
            guard case .described(let described) = value, described.descriptor == descriptor else { return false }
            value = described.value
        }
        return value.type == type
    }
}
