// SPDX-License-Identifier: Apache-2.0

/// Ordered keys and values.
///
/// The order matters: in AMQP and for `==`, two maps with the same pairs in another order differ. Each key occurs once.
/// A lookup searches the pairs in order, which is fast for the small maps of messages.
///
/// A decoded map keeps its encoded bytes, which share the memory of the decoded buffer. Each access decodes keys and
/// values again. To release that memory, or to read the map often, store `AMQPMap(Array(map))`.
///
/// Source: AMQP 1.0 §1.6.23.
public struct AMQPMap: Sendable {
    /// One key and its value.
    public typealias Element = (key: AMQPValue, value: AMQPValue)

    private enum Storage {
        /// Alternating keys and values without a repeated key. A flat array is destroyed faster than an array of
        /// tuples.
        case flat([AMQPValue])
        case encoded(EncodedMap)
    }

    private var storage: Storage

    /// The keys and values, alternating.
    private(set) var flat: [AMQPValue] {
        @inline(__always)
        get {
            switch self.storage {
            case .flat(let values): values
            case .encoded(let map): map.values
            }
        }
        _modify {
            var values = self.flat
            // The array is moved out during the change, so that it is not copied.
            self.storage = .flat([])
            defer { self.storage = .flat(values) }
            yield &values
        }
    }

    /// Creates an empty map.
    public init() {
        self.storage = .flat([])
    }

    /// Creates a map of pairs. If a key occurs twice, the last value replaces the first.
    public init(_ pairs: some Sequence<Element>) {
        var flat: [AMQPValue] = []
        flat.reserveCapacity(2 * pairs.underestimatedCount)
        var places: [AMQPValue: Int] = [:]
        for pair in pairs {
            if let place = places[pair.key] {
                flat[place] = pair.value
            } else {
                places[pair.key] = flat.count + 1
                flat.append(pair.key)
                flat.append(pair.value)
            }
        }
        self.storage = .flat(flat)
    }

    /// Adopts alternating keys and values without a repeated key.
    init(uniqueKeysAndValues flat: [AMQPValue]) {
        self.storage = .flat(flat)
    }

    init(_ map: EncodedMap) {
        self.storage = .encoded(map)
    }

    /// The value of a key, or `nil`.
    ///
    /// Setting an existing key replaces its value in place; a new key is appended. Setting `nil` removes the key. To
    /// store AMQP's null, set `.null`.
    public subscript(_ key: AMQPValue) -> AMQPValue? {
        get {
            switch key {
            case .string(let key): self[key]
            case .symbol(let key): self[symbol: key]
            default: self.first { $0.key == key }?.value
            }
        }
        set { self.set(key, newValue, at: self.place { $0 == key }) }
    }

    /// The value of a string key, or `nil`.
    public subscript(_ key: String) -> AMQPValue? {
        get {
            if case .encoded(let map) = self.storage { return map.value(Code.string8, key) }
            return self.place(of: key).map { self.flat[2 * $0 + 1] }
        }
        set { self.set(.string(key), newValue, at: self.place(of: key)) }
    }

    /// The value of a symbol key, or `nil`.
    public subscript(symbol key: AMQPSymbol) -> AMQPValue? {
        get {
            if case .encoded(let map) = self.storage { return map.value(Code.symbol8, key.rawValue) }
            return self.place(of: key).map { self.flat[2 * $0 + 1] }
        }
        set { self.set(.symbol(key), newValue, at: self.place(of: key)) }
    }

    private func place(of key: String) -> Int? {
        self.place { if case .string(let text) = $0 { text.hasSameUTF8(as: key) } else { false } }
    }

    private func place(of key: AMQPSymbol) -> Int? {
        self.place { if case .symbol(let text) = $0 { text.rawValue.hasSameUTF8(as: key.rawValue) } else { false } }
    }

    @inline(__always)
    private func place(_ matches: (AMQPValue) -> Bool) -> Int? {
        let flat = self.flat
        return (0..<flat.count / 2).first { matches(flat[2 * $0]) }
    }

    private mutating func set(_ key: AMQPValue, _ value: AMQPValue?, at place: Int?) {
        switch (place, value) {
        case (let place?, let value?): self.flat[2 * place + 1] = value
        case (let place?, nil): self.flat.removeSubrange(2 * place...2 * place + 1)
        case (nil, let value?): self.flat += [key, value]
        case (nil, nil): break
        }
    }
}

extension AMQPMap: Collection {
    /// The position of a pair. The index has its own type, so that `map[0]` can only mean the key 0.
    public struct Index: Hashable, Sendable, Comparable {
        let place: Int
        /// In a decoded map, the offset of the pair's bytes.
        let offset: Int

        /// Returns whether the left position is before the right position.
        public static func < (left: Index, right: Index) -> Bool { left.place < right.place }
        /// Returns whether both positions are the same.
        public static func == (left: Index, right: Index) -> Bool { left.place == right.place }
        /// Hashes the position.
        public func hash(into hasher: inout Hasher) { hasher.combine(self.place) }
    }

    /// The number of pairs.
    public var count: Int {
        switch self.storage {
        case .flat(let values): values.count / 2
        case .encoded(let map): map.count / 2
        }
    }
    /// Whether the map has no pairs.
    public var isEmpty: Bool { self.count == 0 }
    /// The position of the first pair.
    public var startIndex: Index { Index(place: 0, offset: 0) }
    /// The position after the last pair.
    public var endIndex: Index { Index(place: self.count, offset: 0) }
    /// Returns the position after `index`.
    public func index(after index: Index) -> Index {
        guard case .encoded(let map) = self.storage else { return Index(place: index.place + 1, offset: 0) }
        return Index(place: index.place + 1, offset: map.offset(after: index.offset))
    }
    /// The pair at a position.
    public subscript(position: Index) -> Element {
        var offset = position.offset
        if case .encoded(let map) = self.storage, let pair = map.pair(at: &offset) { return pair }
        let flat = self.flat
        return (key: flat[2 * position.place], value: flat[2 * position.place + 1])
    }

    /// An iterator over the pairs in order. It needs one call per pair; iteration by index needs three.
    public struct Iterator: IteratorProtocol {
        private let map: AMQPMap
        private var pairsLeft: Int
        /// The index in the array of values, or the offset in the bytes.
        private var place = 0

        fileprivate init(_ map: AMQPMap) {
            self.map = map
            self.pairsLeft = map.count
        }

        /// Returns the next pair; `nil` after the last pair.
        public mutating func next() -> Element? {
            guard self.pairsLeft > 0 else { return nil }
            self.pairsLeft &-= 1
            switch self.map.storage {
            case .flat(let values):
                defer { self.place &+= 2 }
                return (key: values[self.place], value: values[self.place &+ 1])
            case .encoded(let map): return map.pair(at: &self.place)
            }
        }
    }

    /// Returns an iterator over the pairs in order.
    public func makeIterator() -> Iterator { Iterator(self) }
}

extension AMQPMap: Hashable {
    /// Returns whether both maps contain equal keys and values in the same order.
    public static func == (left: AMQPMap, right: AMQPMap) -> Bool { left.flat == right.flat }
    /// Hashes the keys and values.
    public func hash(into hasher: inout Hasher) { hasher.combine(self.flat) }
}

extension AMQPMap: ExpressibleByDictionaryLiteral, CustomStringConvertible {
    /// Creates a map from a literal. If a key occurs twice, the last value replaces the first.
    public init(dictionaryLiteral elements: (AMQPValue, AMQPValue)...) {
        self.init(elements.lazy.map { (key: $0.0, value: $0.1) })
    }

    /// A readable text: `{"key": value, …}`.
    public var description: String {
        "{\(self.map { "\($0.key): \($0.value)" }.joined(separator: ", "))}"
    }
}
