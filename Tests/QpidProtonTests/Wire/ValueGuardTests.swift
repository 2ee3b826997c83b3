// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// Values that would cost Proton unlimited stack or memory are refused before Proton decodes them.
@Suite struct ValueGuardTests {
    /// Whether the guard accepts these bytes as `count` values that fill them.
    private func accepts(_ bytes: [UInt8], count: Int = 1, end: Int? = nil) -> Bool {
        bytes.withUnsafeBytes { ValueGuard.accepts(ByteCursor($0), count: count, end: end ?? $0.count) }
    }

    /// Returns nested list8 values. The innermost list is empty.
    private func nested(_ depth: Int) -> [UInt8] {
        (1..<depth).reduce([0xD0, 0, 0, 0, 4, 0, 0, 0, 0] as [UInt8]) { inner, _ in
            [0xD0] + EncodedComposite.bigEndian(UInt32(inner.count + 4)) + [0, 0, 0, 1] + inner
        }
    }

    @Test func valuesFillTheirBytesExactly() {
        #expect(self.accepts([], count: 0))
        #expect(self.accepts([0x43, 0xA1, 1, 0x61, 0x45], count: 3))
        #expect(!self.accepts([0x43, 0x40], count: 1) && !self.accepts([0x43], count: 2))
        #expect(!self.accepts([0xA1, 2, 0x61]) && !self.accepts([0x43], count: 1, end: 2))
        // A constructor that the standard does not define has no size.
        #expect(!self.accepts([0x10]) && !self.accepts([0x3F, 0]))
    }

    @Test func aListEndsAtItsSize() {
        #expect(self.accepts([0xC0, 2, 1, 0x43]) && self.accepts([0xC0, 1, 0]))
        #expect(!self.accepts([0xC0, 3, 1, 0x43, 0x40]))
        #expect(!self.accepts([0xC0, 2, 2, 0x43, 0x40], count: 1))
        #expect(!self.accepts([0xC0, 9, 1, 0x43]))
        #expect(!self.accepts([0xD0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1, 0x43]))
        #expect(self.accepts([0xC1, 3, 2, 0x43, 0x43]) && !self.accepts([0xC1, 3, 3, 0x43, 0x43]))
    }

    @Test func valuesLieNoDeeperThanTheLimit() {
        #expect(self.accepts(self.nested(ValueGuard.depth)))
        #expect(!self.accepts(self.nested(ValueGuard.depth + 1)))
        let described = Array(repeating: [0x00, 0x43] as [UInt8], count: ValueGuard.depth).flatMap { $0 }
        #expect(self.accepts(described + [0x43]))
        #expect(!self.accepts([0x00, 0x43] + described + [0x43]))
    }

    @Test func valuesAreNoMoreThanTheLimit() {
        let nulls = Array(repeating: UInt8(0x40), count: ValueGuard.elements)
        #expect(self.accepts(nulls, count: ValueGuard.elements))
        #expect(!self.accepts(nulls + [0x40], count: ValueGuard.elements + 1))
        // The limit includes all nested values.
        let list = [0xD0] + EncodedComposite.bigEndian(4_100) + EncodedComposite.bigEndian(4_096) + nulls
        #expect(!self.accepts(list))
    }

    /// An array of nulls has no bytes for its elements, but Proton allocates 72 bytes for each.
    @Test func arrayElementsWithoutBytesCount() {
        func array(_ count: Int) -> [UInt8] {
            [0xF0] + EncodedComposite.bigEndian(5) + EncodedComposite.bigEndian(UInt32(count)) + [0x40]
        }
        #expect(self.accepts(array(4_000)))
        #expect(!self.accepts(array(4_096)))
        #expect(!self.accepts(array(Int(UInt32.max))))
    }

    @Test func theElementsOfAnArrayShareOneConstructor() {
        #expect(self.accepts([0xE0, 4, 2, 0x50, 1, 2]) && !self.accepts([0xE0, 4, 3, 0x50, 1, 2]))
        #expect(!self.accepts([0xE0, 1, 1]))
        // All elements share one descriptor, which contains nothing else.
        #expect(self.accepts([0xE0, 6, 2, 0x00, 0x43, 0x50, 1, 2]))
        #expect(!self.accepts([0xE0, 6, 1, 0x00, 0x45, 0x00, 0x43, 0x50]))
        #expect(!self.accepts([0xE0, 7, 2, 0x00, 0xC0, 1, 0, 0x50, 1]))
        #expect(self.accepts([0xE0, 8, 2, 0xC0, 2, 1, 0x43, 2, 1, 0x40]))
    }

    @Test func aDescribedValueIsADescriptorAndAValue() {
        #expect(self.accepts([0x00, 0x53, 0x24, 0x45]))
        #expect(!self.accepts([0x00, 0x53, 0x24]) && !self.accepts([0x00]))
        #expect(!self.accepts([0x01, 0x53, 0x24, 0x45]))
    }
}
