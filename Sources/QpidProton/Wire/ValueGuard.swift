// SPDX-License-Identifier: Apache-2.0

/// The check of encoded values before Proton decodes them. It refuses values that would cost unlimited stack or memory.
///
/// Proton 0.37 decodes nested values by recursion, to any depth. It allocates 72 bytes for each element that an array
/// claims, even for null. It counts elements, but skips values by their size. If the two disagree, its result is
/// unpredictable.
struct ValueGuard {
    /// The deepest nesting of lists, maps, arrays and described values.
    static let depth = 64
    /// The most values in a performative.
    static let elements = 4_096

    /// An entered list, map, array or described value.
    private struct Level {
        var remaining: Int
        /// The end of the value; `nil` for a described value, which has no size.
        let end: Int?
        /// The constructor that all elements of an array share.
        var constructor: UInt8?
    }

    private var cursor: ByteCursor
    private var levels: [Level] = []
    private var elements = 0

    /// Returns whether the next `count` values end at the right place, and are neither too deep nor too many.
    static func accepts(_ cursor: ByteCursor, count: Int, end: Int) -> Bool {
        var walk = ValueGuard(cursor)
        guard cursor.offset <= end, count <= Self.elements, walk.cursor.enter(end - cursor.offset) != nil else {
            return false
        }
        walk.levels.append(Level(remaining: count, end: end))
        while !walk.levels.isEmpty { guard walk.step() else { return false } }
        return true
    }

    private init(_ cursor: ByteCursor) {
        self.cursor = cursor
    }

    /// Skips or enters the next value; `false` if the value must be refused.
    private mutating func step() -> Bool {
        let last = self.levels.count - 1
        guard self.levels[last].remaining > 0 else {
            let end = self.levels.removeLast().end
            return end == nil || end == self.cursor.offset
        }
        self.levels[last].remaining -= 1
        self.elements += 1
        guard self.elements <= Self.elements, let constructor = self.levels[last].constructor ?? self.cursor.byte()
        else {
            return false
        }
        switch constructor >> 4 {
        case 0x0: return constructor == Code.described && self.enter(2, end: nil)
        case 0xC, 0xD: return self.enter(constructor, isArray: false)
        case 0xE, 0xF: return self.enter(constructor, isArray: true)
        default: return self.cursor.skipContent(of: constructor)
        }
    }

    /// Enters a list, map or array.
    private mutating func enter(_ code: UInt8, isArray: Bool) -> Bool {
        guard let (end, count) = self.cursor.compound(isWide: Code.isWide(code)), end <= self.cursor.end else {
            return false
        }
        guard isArray else { return self.enter(count, end: end) }
        guard var constructor = self.cursor.byte() else { return false }
        if constructor == Code.described {
            // All elements share one descriptor. Proton accepts a descriptor that contains no other value.
            guard self.passPlain(), let next = self.cursor.byte(), next != Code.described else { return false }
            constructor = next
        }
        return self.enter(count, end: end, constructor: constructor)
    }

    private mutating func enter(_ count: Int, end: Int?, constructor: UInt8? = nil) -> Bool {
        guard self.levels.count <= Self.depth, self.elements + count <= Self.elements else { return false }
        self.levels.append(Level(remaining: count, end: end, constructor: constructor))
        return true
    }

    /// Skips a value that contains no other values.
    private mutating func passPlain() -> Bool {
        guard let code = self.cursor.byte(), code >> 4 < 0xC else { return false }
        return self.cursor.skipContent(of: code)
    }
}
