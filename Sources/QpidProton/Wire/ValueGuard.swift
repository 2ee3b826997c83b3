/// Looks through encoded values before Proton decodes them, and refuses those that would cost it stack or memory without a
/// limit.
///
/// Proton 0.37 decodes values that lie in each other by recursion, to any depth, and makes 72 bytes of each element that an
/// array claims to have, be it null. It goes by the number of elements, and passes over values by their size: where the two
/// do not agree, nothing is known of what it would decode.
struct ValueGuard {
    /// How deep lists, maps, arrays and described values may lie in each other.
    static let depth = 64
    /// How many values a performative may hold.
    static let elements = 4_096

    /// A list, map or array, or a described value, that has been entered.
    private struct Level {
        var remaining: Int
        /// Where it ends; nil for a described value, which does not say.
        let end: Int?
        /// What all elements of an array have in common.
        var constructor: UInt8?
    }

    private let bytes: UnsafeRawBufferPointer
    private var offset: Int
    private var levels: [Level] = []
    private var elements = 0

    /// Whether `count` values from `offset` on end where they must, and are neither too deep nor too many.
    static func accepts(_ bytes: UnsafeRawBufferPointer, from offset: Int, count: Int, end: Int) -> Bool {
        guard end <= bytes.count, offset <= end, count <= Self.elements else { return false }
        var walk = ValueGuard(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<end]), offset: offset)
        walk.levels.append(Level(remaining: count, end: end))
        while !walk.levels.isEmpty { guard walk.step() else { return false } }
        return true
    }

    private init(bytes: UnsafeRawBufferPointer, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    /// Passes over the next value, or enters it. Returns false where it cannot be borne.
    private mutating func step() -> Bool {
        let last = self.levels.count - 1
        guard self.levels[last].remaining > 0 else {
            let end = self.levels.removeLast().end
            return end == nil || end == self.offset
        }
        self.levels[last].remaining -= 1
        self.elements += 1
        guard self.elements <= Self.elements, let constructor = self.levels[last].constructor ?? self.byte() else {
            return false
        }
        switch constructor >> 4 {
        case 0x0: return constructor == 0 && self.enter(2, end: nil)
        case 0xC: return self.enter(1, isArray: false)
        case 0xD: return self.enter(4, isArray: false)
        case 0xE: return self.enter(1, isArray: true)
        case 0xF: return self.enter(4, isArray: true)
        default: return self.passPlain(constructor)
        }
    }

    /// Enters a list, map or array whose size and number of elements have `width` bytes each.
    private mutating func enter(_ width: Int, isArray: Bool) -> Bool {
        guard let size = self.number(width) else { return false }
        let end = self.offset + size
        guard let count = self.number(width), end <= self.bytes.count else { return false }
        guard isArray else { return self.enter(count, end: end) }
        guard var constructor = self.byte() else { return false }
        if constructor == 0 {
            // One descriptor for all elements, which Proton takes if it holds nothing else.
            guard let descriptor = self.byte(), self.passPlain(descriptor), let next = self.byte(), next != 0 else {
                return false
            }
            constructor = next
        }
        return self.enter(count, end: end, constructor: constructor)
    }

    private mutating func enter(_ count: Int, end: Int?, constructor: UInt8? = nil) -> Bool {
        guard self.levels.count <= Self.depth, self.elements + count <= Self.elements else { return false }
        self.levels.append(Level(remaining: count, end: end, constructor: constructor))
        return true
    }

    private mutating func passPlain(_ constructor: UInt8) -> Bool {
        switch constructor >> 4 {
        case 0x4: true
        case 0x5: self.pass(1)
        case 0x6: self.pass(2)
        case 0x7: self.pass(4)
        case 0x8: self.pass(8)
        case 0x9: self.pass(16)
        case 0xA: self.pass(self.number(1))
        case 0xB: self.pass(self.number(4))
        default: false
        }
    }

    private mutating func byte() -> UInt8? {
        guard self.offset < self.bytes.count else { return nil }
        defer { self.offset += 1 }
        return self.bytes[self.offset]
    }

    private mutating func number(_ width: Int) -> Int? {
        guard width <= self.bytes.count - self.offset else { return nil }
        defer { self.offset += width }
        return self.bytes[self.offset..<self.offset + width].reduce(0) { $0 << 8 | Int($1) }
    }

    private mutating func pass(_ count: Int?) -> Bool {
        guard let count, count <= self.bytes.count - self.offset else { return false }
        self.offset += count
        return true
    }
}
