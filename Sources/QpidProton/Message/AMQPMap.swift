/// Keys and values in an order.
///
/// The order counts: AMQP calls two maps with the same pairs in another order different, and so does `==`. A key
/// occurs once. Looking a key up takes a walk over the pairs, which is quick for the small maps that messages carry.
///
/// Source: AMQP 1.0 §1.6.23.
public struct AMQPMap: Hashable, Sendable {
    /// One key and its value.
    public typealias Element = (key: AMQPValue, value: AMQPValue)

    /// Key, value, key, value, …; no key occurs twice. One flat array is destroyed faster than one of tuples.
    private(set) var flat: [AMQPValue]

    /// Makes an empty map.
    public init() {
        self.flat = []
    }

    /// Makes a map of pairs. Where a key occurs twice, the last value counts, in the first one's place.
    public init(_ pairs: some Sequence<Element>) {
        self.flat = []
        self.flat.reserveCapacity(2 * pairs.underestimatedCount)
        var places: [AMQPValue: Int] = [:]
        for pair in pairs {
            if let place = places[pair.key] {
                self.flat[2 * place + 1] = pair.value
            } else {
                places[pair.key] = self.count
                self.flat.append(pair.key)
                self.flat.append(pair.value)
            }
        }
    }

    /// Takes keys and values in turn that are known to hold no key twice.
    init(uniqueKeysAndValues flat: [AMQPValue]) {
        self.flat = flat
    }

    /// The value of a key, nil where there is none.
    ///
    /// Setting a key that is there replaces its value in its place; a new key goes to the end. Setting nil takes the
    /// key out: to store AMQP's null, set `.null`.
    public subscript(_ key: AMQPValue) -> AMQPValue? {
        get { self.place { $0 == key }.map { self.flat[2 * $0 + 1] } }
        set { self.set(key, newValue, at: self.place { $0 == key }) }
    }

    /// The value of a string key, nil where there is none.
    public subscript(_ key: String) -> AMQPValue? {
        get { self.place(of: key).map { self.flat[2 * $0 + 1] } }
        set { self.set(.string(key), newValue, at: self.place(of: key)) }
    }

    /// The value of a symbol key, nil where there is none.
    public subscript(symbol key: AMQPSymbol) -> AMQPValue? {
        get { self.place(of: key).map { self.flat[2 * $0 + 1] } }
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
        (0..<self.count).first { matches(self.flat[2 * $0]) }
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

extension AMQPMap: RandomAccessCollection {
    /// The place of a pair. It is its own type so that `map[0]` can only mean the key 0.
    public struct Index: Hashable, Sendable, Comparable {
        let place: Int

        /// Whether the left place comes before the right one.
        public static func < (left: Index, right: Index) -> Bool { left.place < right.place }
    }

    /// The number of pairs.
    public var count: Int { self.flat.count / 2 }
    /// The first pair's place.
    public var startIndex: Index { Index(place: 0) }
    /// The place after the last pair.
    public var endIndex: Index { Index(place: self.count) }
    /// The place after another.
    public func index(after index: Index) -> Index { Index(place: index.place + 1) }
    /// The place before another.
    public func index(before index: Index) -> Index { Index(place: index.place - 1) }
    /// The place a number of places away.
    public func index(_ index: Index, offsetBy distance: Int) -> Index { Index(place: index.place + distance) }
    /// How many places lie between two.
    public func distance(from start: Index, to end: Index) -> Int { end.place - start.place }
    /// The pair at a place.
    public subscript(position: Index) -> Element {
        (key: self.flat[2 * position.place], value: self.flat[2 * position.place + 1])
    }

    /// Gives the pairs in their order: one call a pair, where a walk over the places takes three.
    public struct Iterator: IteratorProtocol {
        private var rest: IndexingIterator<[AMQPValue]>

        fileprivate init(_ flat: [AMQPValue]) {
            self.rest = flat.makeIterator()
        }

        /// The next pair, nil behind the last.
        public mutating func next() -> Element? {
            guard let key = self.rest.next(), let value = self.rest.next() else { return nil }
            return (key, value)
        }
    }

    /// Gives the pairs in their order.
    public func makeIterator() -> Iterator { Iterator(self.flat) }
}

extension AMQPMap: ExpressibleByDictionaryLiteral, CustomStringConvertible {
    /// Makes a map of a literal. Where a key occurs twice, the last value counts.
    public init(dictionaryLiteral elements: (AMQPValue, AMQPValue)...) {
        self.init(elements.lazy.map { (key: $0.0, value: $0.1) })
    }

    /// A text for people: `{"key": value, …}`.
    public var description: String {
        "{\(self.map { "\($0.key): \($0.value)" }.joined(separator: ", "))}"
    }
}
