public import NIOCore

/// A message: the bare message, and what the network adds to it.
///
/// All sections of AMQP 1.0 are here and survive decoding and encoding: several data or sequence sections, the footer,
/// and sections that are present and hold nothing. A message is a value; its copies share memory
/// until one is changed.
///
/// Keys and values of the maps are carried as they are. AMQP asks for symbols (or `ulong`) as keys of annotations, and
/// for strings as keys and no compound types as values of application properties; brokers may refuse other ones.
///
/// Source: AMQP 1.0 §3.2.
public struct AMQPMessage: Sendable {
    /// The body of a message.
    ///
    /// Source: AMQP 1.0 §3.2.6–3.2.8.
    public enum Body: Hashable, Sendable {
        /// No body. AMQP asks for one: a peer may refuse a message without.
        case empty
        /// One or more data sections: bytes.
        case data([ByteBuffer])
        /// One or more sequence sections: lists of values.
        case sequence([[AMQPValue]])
        /// A single value.
        case value(AMQPValue)
    }

    /// Sections that may be present and hold nothing.
    struct EmptySections: OptionSet, Hashable, Sendable {
        /// One bit a section.
        let rawValue: UInt8

        /// Creates a set of its bits.
        init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// The header, with default values.
        static let header = Self(rawValue: 1)
        /// The delivery annotations.
        static let deliveryAnnotations = Self(rawValue: 2)
        /// The message annotations.
        static let messageAnnotations = Self(rawValue: 4)
        /// The properties, none set.
        static let properties = Self(rawValue: 8)
        /// The application properties.
        static let applicationProperties = Self(rawValue: 16)
        /// The footer.
        static let footer = Self(rawValue: 32)
    }

    /// One data section, by far the most frequent body, lies here without an array around it.
    enum StoredBody: Sendable {
        case empty
        case data(ByteBuffer)
        case dataSections([ByteBuffer])
        case sequence([[AMQPValue]])
        case value(AMQPValue)
    }

    /// The sections that few messages carry.
    struct Extras: Sendable {
        var deliveryAnnotations = AMQPMap()
        var messageAnnotations = AMQPMap()
        var footer = AMQPMap()
        var mistypedFields: [String: AMQPValue] = [:]
    }

    var storedBody: StoredBody = .empty
    /// The properties; none set where the message carries none.
    public var properties = AMQPProperties()
    var extrasBox: CopyOnWriteBox<Extras>?
    /// The application properties: strings and simple values of the application's own.
    public var applicationProperties = AMQPMap()
    /// The header; default values where the message carries none.
    public var header = AMQPHeader()
    /// The sections that are encoded although they hold nothing. Decoding notes them here; for a section that holds
    /// something the bit has no meaning.
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

    /// The message annotations, which travel with the message from node to node.
    public var messageAnnotations: AMQPMap {
        get { self.extrasBox?.value.messageAnnotations ?? AMQPMap() }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.messageAnnotations
        }
    }

    /// The footer, for what is computed over the message.
    public var footer: AMQPMap {
        get { self.extrasBox?.value.footer ?? AMQPMap() }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.footer
        }
    }

    /// Header fields and properties that arrived with a type other than the one that AMQP defines for them, as they came.
    ///
    /// The key is the field's name in AMQP 1.0, for example `content-type` or `ttl`. The typed property of such a field is
    /// nil, or the default in the header. Encoding writes a value of this dictionary in the field's place while the typed
    /// property is nil or the default, and ignores keys that name no field. Empty when every field has its defined type.
    ///
    /// Source: AMQP 1.0 §3.2.1 and §3.2.4.
    public var mistypedFields: [String: AMQPValue] {
        get { self.extrasBox?.value.mistypedFields ?? [:] }
        _modify {
            self.extrasBox.makeUnique(or: Extras())
            yield &self.extrasBox!.value.mistypedFields
        }
    }

    /// The empty sections that count: those that do hold nothing.
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
    /// Whether all sections are equal, and the same ones are present.
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

/// A value on the heap that is copied before it is changed where it is shared.
// Sendable: who holds a box changes `value` only after `isKnownUniquelyReferenced`, in `makeUnique` and in what is called `own`, or
// before it is shared: while a single reference exists.
final class CopyOnWriteBox<Value: Sendable>: @unchecked Sendable {
    /// The compiler cannot see that only a box that no one else holds is changed, and would check every access.
    @exclusivity(unchecked) var value: Value

    init(_ value: Value) {
        self.value = value
    }
}

extension Optional {
    /// Makes sure that there is a box and that no one else holds it.
    @inline(__always)
    mutating func makeUnique<Value: Sendable>(or value: @autoclosure () -> Value)
    where Wrapped == CopyOnWriteBox<Value> {
        if isKnownUniquelyReferenced(&self) { return }
        self = CopyOnWriteBox(self?.value ?? value())
    }
}
