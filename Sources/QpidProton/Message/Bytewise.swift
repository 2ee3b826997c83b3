// SPDX-License-Identifier: Apache-2.0

/// An optional text that is compared by its UTF-8 bytes, because AMQP names are equal only if their bytes are.
///
/// Swift's `==` also equates canonically equivalent texts, such as the two forms of "é".
struct Bytewise<Text: BytewiseText>: Hashable, Sendable, CustomReflectable, CustomStringConvertible {
    var text: Text

    init(_ text: Text) { self.text = text }

    static func == (left: Self, right: Self) -> Bool { Text.haveSameBytes(left.text, right.text) }
    func hash(into hasher: inout Hasher) { self.text.hashBytes(into: &hasher) }

    /// The text for descriptions.
    var description: String { "\(self.text)" }
    var customMirror: Mirror { Mirror(reflecting: self.text) }
}

/// `String` and `String?`.
protocol BytewiseText: Sendable {
    static func haveSameBytes(_ left: Self, _ right: Self) -> Bool
    func hashBytes(into hasher: inout Hasher)
}

extension String: BytewiseText {
    static func haveSameBytes(_ left: String, _ right: String) -> Bool { left.hasSameUTF8(as: right) }

    /// Hashes the UTF-8 bytes and their number, which separates adjacent texts.
    func hashBytes(into hasher: inout Hasher) {
        var text = self
        text.withUTF8 { bytes in
            hasher.combine(bytes.count)
            hasher.combine(bytes: UnsafeRawBufferPointer(bytes))
        }
    }
}

extension String?: BytewiseText {
    static func haveSameBytes(_ left: String?, _ right: String?) -> Bool {
        switch (left, right) {
        case (nil, nil): true
        case (let left?, let right?): left.hasSameUTF8(as: right)
        default: false
        }
    }

    func hashBytes(into hasher: inout Hasher) {
        hasher.combine(self != nil)
        self?.hashBytes(into: &hasher)
    }
}
