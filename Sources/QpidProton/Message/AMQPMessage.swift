// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A message: the bare message, and the annotations that the network adds.
///
/// All sections of AMQP 1.0 survive decoding and encoding, including several data or sequence sections, the footer and
/// empty sections. A message is a value. Copies share memory until one of them changes.
///
/// The library does not check the keys and values of the maps. AMQP requires symbols (or `ulong`) as keys of
/// annotations. Application properties require strings as keys, and values without compound types. Brokers may refuse
/// other keys and values.
///
/// Source: AMQP 1.0 §3.2.
public struct AMQPMessage: Sendable {
    /// The body of a message.
    ///
    /// Source: AMQP 1.0 §3.2.6–3.2.8.
    public enum Body: Hashable, Sendable {
        /// No body. AMQP requires a body, so a peer may refuse the message.
        case empty
        /// One or more data sections: bytes.
        case data([ByteBuffer])
        /// One or more sequence sections: lists of values.
        case sequence([[AMQPValue]])
        /// A single value.
        case value(AMQPValue)
    }

    /// Sections that may be present and empty.
    struct EmptySections: OptionSet, Hashable, Sendable {
        /// One bit per section.
        let rawValue: UInt8

        /// Creates a set from its bits.
        init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// The header, with default values.
        static let header = Self(rawValue: 1)
        /// The delivery annotations.
        static let deliveryAnnotations = Self(rawValue: 2)
        /// The message annotations.
        static let messageAnnotations = Self(rawValue: 4)
        /// The properties, without values.
        static let properties = Self(rawValue: 8)
        /// The application properties.
        static let applicationProperties = Self(rawValue: 16)
        /// The footer.
        static let footer = Self(rawValue: 32)
    }

    /// The stored form of a body: a single data section, by far the most frequent body, needs no array.
    enum StoredBody: Sendable {
        case empty
        case data(ByteBuffer)
        case dataSections([ByteBuffer])
        case sequence([[AMQPValue]])
        case value(AMQPValue)
    }

    /// The rare sections.
    struct Extras: Sendable {
        var deliveryAnnotations = AMQPMap()
        var messageAnnotations = AMQPMap()
        var footer = AMQPMap()
        var mistypedFields: [String: AMQPValue] = [:]
    }

    var storedBody: StoredBody = .empty
    /// The properties; empty if the message has none.
    public var properties = AMQPProperties()
    var extrasBox: CopyOnWriteBox<Extras>?
    /// The application properties: strings with simple values.
    public var applicationProperties = AMQPMap()
    /// The header; default values if the message has no header.
    public var header = AMQPHeader()
    /// The sections to encode even if they are empty. Decoding sets the bits. The bit of a section with content has no
    /// effect.
    var emptySections: EmptySections = []

    /// Creates a message without a body.
    public init() {}

    /// The delivery annotations, for the next node only.
    public var deliveryAnnotations: AMQPMap {
        get { self.extrasBox?.value.deliveryAnnotations ?? AMQPMap() }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.deliveryAnnotations
        }
    }

    /// The message annotations, which nodes forward with the message.
    public var messageAnnotations: AMQPMap {
        get { self.extrasBox?.value.messageAnnotations ?? AMQPMap() }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.messageAnnotations
        }
    }

    /// The footer, for example for a checksum of the message.
    public var footer: AMQPMap {
        get { self.extrasBox?.value.footer ?? AMQPMap() }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.footer
        }
    }

    /// Received header fields and properties of another type than AMQP defines, unchanged.
    ///
    /// The key is the field's name in AMQP 1.0, for example `content-type` or `ttl`. The typed property of such a field
    /// is `nil`, or in the header its default. While it has that value, encoding writes the value of this dictionary
    /// instead. Encoding ignores keys that are not names of fields. The dictionary is empty if every field has its
    /// defined type.
    ///
    /// Source: AMQP 1.0 §3.2.1 and §3.2.4.
    public var mistypedFields: [String: AMQPValue] {
        get { self.extrasBox?.value.mistypedFields ?? [:] }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.mistypedFields
        }
    }

    /// The sections that are present and have no content.
    var effectiveEmptySections: EmptySections {
        var sections = self.emptySections
        guard !sections.isEmpty else { return sections }
        let mistyped = self.mistypedFields
        if !self.header.isEmpty || FieldNames.header.contains(where: { mistyped[$0] != nil }) {
            sections.remove(.header)
        }
        if !self.deliveryAnnotations.isEmpty { sections.remove(.deliveryAnnotations) }
        if !self.messageAnnotations.isEmpty { sections.remove(.messageAnnotations) }
        if !self.properties.isEmpty || FieldNames.properties.contains(where: { mistyped[$0] != nil }) {
            sections.remove(.properties)
        }
        if !self.applicationProperties.isEmpty { sections.remove(.applicationProperties) }
        if !self.footer.isEmpty { sections.remove(.footer) }
        return sections
    }
}

extension AMQPMessage: Hashable {
    /// Returns whether the same sections are present and equal.
    public static func == (left: AMQPMessage, right: AMQPMessage) -> Bool {
        left.header == right.header && left.body == right.body && left.properties == right.properties
            && left.applicationProperties == right.applicationProperties
            && left.deliveryAnnotations == right.deliveryAnnotations
            && left.messageAnnotations == right.messageAnnotations && left.footer == right.footer
            && left.mistypedFields == right.mistypedFields
            && left.effectiveEmptySections == right.effectiveEmptySections
    }

    /// Hashes all sections.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.header)
        hasher.combine(self.deliveryAnnotations)
        hasher.combine(self.messageAnnotations)
        hasher.combine(self.properties)
        hasher.combine(self.applicationProperties)
        hasher.combine(self.body)
        hasher.combine(self.footer)
    }
}

/// A value on the heap. The owner copies a shared value before a change.
// Sendable: `value` changes only while a single reference exists, after `isKnownUniquelyReferenced` in `makeUnique` and
// `own`, or before the box is shared.
final class CopyOnWriteBox<Value: Sendable>: @unchecked Sendable {
    /// Exclusivity checks are off: only a box with a single reference changes, which the compiler cannot prove.
    @exclusivity(unchecked) var value: Value

    init(_ value: Value) {
        self.value = value
    }
}

extension Optional {
    /// Ensures that there is a box with a single reference.
    @inline(__always)
    mutating func makeUnique<Value: Sendable>(or value: @autoclosure () -> Value)
    where Wrapped == CopyOnWriteBox<Value> {
        if isKnownUniquelyReferenced(&self) { return }
        self = CopyOnWriteBox(self?.value ?? value())
    }
}
