// SPDX-License-Identifier: Apache-2.0

/// A text that is compared by its bytes, as AMQP compares names.
///
/// Swift's `String` also equates texts that are displayed alike, such as the two forms of "é".
package struct ByteKey: Hashable, Sendable {
    package let text: String

    package init(_ text: String) { self.text = text }

    package static func == (left: Self, right: Self) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    package func hash(into hasher: inout Hasher) {
        var text = self.text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension String {
    /// Returns whether both texts have the same UTF-8 bytes.
    package func hasSameBytes(as other: String) -> Bool { self.utf8.elementsEqual(other.utf8) }
}
