// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// A described list whose fields can be replaced while all others keep their bytes.
@Suite struct EncodedCompositeTests {
    private func composite(_ bytes: [UInt8]) throws -> EncodedComposite {
        try #require(EncodedComposite(bytes[...]))
    }

    /// The fields are 1, "a" and a binary of one byte.
    private static let three: [UInt8] = [0, 0x53, 0x24, 0xC0, 9, 3, 0x52, 1, 0xA1, 1, 0x61, 0xA0, 1, 9]

    @Test func aCompositeIsADescribedListThatEndsWithItsFields() {
        let others: [[UInt8]] = [
            [], [0, 0x53, 0x24], [0x53, 0x24, 0x45], [0, 0x52, 0x24, 0x45], [0, 0x53, 0x24, 0xC1, 1, 0],
            [0, 0x53, 0x24, 0xC0, 2, 2, 0x40], [0, 0x53, 0x24, 0xC0, 3, 1, 0x40, 0x40],
        ]
        for bytes in others { #expect(EncodedComposite(bytes[...]) == nil, "\(bytes)") }
        let head: [UInt8] = [0, 0x53, 0x24, 0xC0]
        #expect(EncodedComposite((head + [65, 64] + Array(repeating: 0x40, count: 64))[...]) != nil)
        #expect(EncodedComposite((head + [66, 65] + Array(repeating: 0x40, count: 65))[...]) == nil)
    }

    @Test func fieldsAreReadAtTheirPositions() throws {
        // The composite may lie within other bytes.
        let bytes = [0xFF, 0xFF] + Self.three + [0xEE]
        let composite = try #require(EncodedComposite(bytes[2...]))
        #expect(composite.descriptor == .code(0x24) && composite.originalCount == Self.three.count)
        #expect((0...3).map { Array(composite[$0]) } == [[0x52, 1], [0xA1, 1, 0x61], [0xA0, 1, 9], [0x40]])
        #expect((0...3).map { composite.isBinary($0) } == [false, false, true, false])
        #expect((0...3).map { composite.binary($0).map { Array($0) } } == [nil, nil, [9], []])
        #expect(composite.encoded == Self.three)
    }

    @Test func theSameValueIsNoChange() throws {
        var composite = try self.composite(Self.three)
        composite.set(0, to: [0x52, 1])
        composite.set(7, to: [0x40])
        #expect(!composite.isChanged && composite.encoded == Self.three)
        composite.set(0, to: 1)
        #expect(composite.isChanged)
        #expect(composite.encoded == [0, 0x53, 0x24, 0xC0, 12, 3, 0x70, 0, 0, 0, 1] + Self.three[8...])
    }

    @Test func fieldsThatWereLeftOutBecomeNull() throws {
        var composite = try self.composite([0, 0x53, 0x24, 0x45])
        composite.set(2, toBinary: [7, 8])
        #expect(composite.encoded == [0, 0x53, 0x24, 0xC0, 7, 3, 0x40, 0x40, 0xA0, 2, 7, 8])
    }

    @Test func aNewDescriptorLeavesTheListUnchanged() throws {
        for list: [UInt8] in [[0x45], [0xC0, 2, 1, 0x43], [0xD0, 0, 0, 0, 5, 0, 0, 0, 1, 0x43]] {
            var composite = try self.composite([0, 0xA3, 1, 0x61] + list)
            #expect(composite.descriptor == .name("a"))
            composite.describe(as: 0x25)
            #expect(composite.descriptor == .code(0x25) && composite.encoded == [0, 0x53, 0x25] + list)
        }
    }

    @Test func aListWidensWhenItsSizeNeedsIt() throws {
        for (count, isWide) in [(252, false), (253, true)] {
            var composite = try self.composite([0, 0x53, 0x24, 0x45])
            composite.set(0, toBinary: Array(repeating: 1, count: count))
            #expect(composite.encoded[3] == (isWide ? 0xD0 : 0xC0), "\(count)")
            #expect(EncodedComposite(composite.encoded[...])?.binary(0)?.count == count)
        }
    }

    @Test func zeroBytesOfTextsAreReplaced() throws {
        var composite = try self.composite([
            0, 0x53, 0x1D, 0xC0, 13, 3, 0xA3, 3, 0x61, 0, 0x62, 0xA0, 1, 0, 0xA1, 2, 0, 0,
        ])
        for field in 0...5 { composite.replaceZeroBytes(field) }
        #expect(Array(composite[0]) == [0xA3, 5, 0x61, 0xEF, 0xBF, 0xBD, 0x62])
        #expect(Array(composite[1]) == [0xA0, 1, 0])
        #expect(Array(composite[2]) == [0xA1, 6, 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD])
        var plain = try self.composite(Self.three)
        for field in 0...2 { plain.replaceZeroBytes(field) }
        #expect(!plain.isChanged)
    }

    @Test func aTextThatOutgrowsItsLengthByteIsWidened() throws {
        let text = Array(repeating: UInt8(0), count: 100)
        let fields = [0xA1, 100] + text
        var composite = try self.composite([0, 0x53, 0x1D, 0xC0, UInt8(fields.count + 1), 1] + fields)
        composite.replaceZeroBytes(0)
        #expect(composite[0].prefix(5) == [0xB1, 0, 0, 1, 44] && composite[0].count == 305)
    }

    @Test func aFieldThatIsACompositeIsEditedWithinIt() throws {
        let inner: [UInt8] = [0, 0x53, 0x1D, 0xC0, 2, 1, 0x43]
        var composite = try self.composite([0, 0x53, 0x25, 0xC0, 9, 2] + inner + [0x43])
        composite.edit(1) { $0.set(0, to: [0x41]) }
        composite.edit(5) { $0.set(0, to: [0x41]) }
        composite.edit(0) { _ in }
        #expect(!composite.isChanged)
        composite.edit(0) { $0.set(0, to: [0x41]) }
        #expect(composite.encoded == [0, 0x53, 0x25, 0xC0, 9, 2, 0, 0x53, 0x1D, 0xC0, 2, 1, 0x41, 0x43])
    }
}
