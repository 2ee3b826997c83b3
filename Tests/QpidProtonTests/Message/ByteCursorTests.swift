// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The cursor that all readers of AMQP bytes use.
struct ByteCursorTests {
    /// Reads bytes that end at the end of their allocation.
    private func withCursor<Result>(
        _ bytes: [UInt8],
        offset: Int = 0,
        _ body: (inout ByteCursor) throws -> Result
    ) rethrows -> Result {
        try bytes.withUnsafeBytes { raw in
            var cursor = ByteCursor(raw, offset: offset)
            return try body(&cursor)
        }
    }

    @Test func readsNumbersAndStopsBeforeATruncatedOne() {
        self.withCursor([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07]) { cursor in
            #expect(cursor.peek() == 1)
            #expect(cursor.integer(UInt16.self) == 0x0102)
            #expect(cursor.integer(Int8.self) == 3)
            #expect(cursor.integer(UInt64.self) == nil)
            #expect(cursor.offset == 3)
            #expect(cursor.integer(UInt32.self) == 0x0405_0607)
            #expect(cursor.left == 0)
            #expect(cursor.byte() == nil)
            #expect(cursor.peek() == nil)
        }
    }

    @Test func theCursorReadsNoByteBeyondTheEnd() {
        for (bytes, offset) in [([], 0), ([], 3), ([0x53, 1], 2), ([0x53, 1], 9)] as [([UInt8], Int)] {
            self.withCursor(bytes, offset: offset) { cursor in
                #expect(cursor.peek() == nil)
                #expect(cursor.byte() == nil)
                #expect(cursor.integer(UInt32.self) == nil)
                #expect(cursor.number(isWide: false) == nil)
                #expect(cursor.compound(isWide: true) == nil)
                #expect(cursor.usualDescriptor == nil)
                #expect(cursor.bytes(1) == nil)
                #expect(cursor.skip(1) == false)
                #expect(cursor.enter(1) == nil)
                #expect(cursor.offset == offset)
            }
        }
        self.withCursor([1, 2]) { cursor in
            #expect(cursor.byte() == 1)
            #expect(cursor.skip(-1) == false)
            #expect(cursor.enter(-1) == nil)
            #expect(cursor.offset == 1)
        }
    }

    @Test func sizesAreNarrowOrWide() {
        self.withCursor([2, 7, 8, 0, 0, 0, 1, 9, 3, 1]) { cursor in
            #expect(cursor.sized(isWide: false).map { Array($0) } == [7, 8])
            #expect(cursor.sized(isWide: true).map { Array($0) } == [9])
            // The size is present, but the content is not.
            #expect(cursor.sized(isWide: false) == nil)
            #expect(cursor.offset == 9)
        }
    }

    @Test func theEndOfACompoundValueMayLieBeyondTheBytes() {
        self.withCursor([200, 3]) { cursor in
            let head = cursor.compound(isWide: false)
            #expect(head?.end == 201)
            #expect(head?.count == 3)
        }
        self.withCursor([0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 2]) { cursor in
            let head = cursor.compound(isWide: true)
            #expect(head?.end == Int(clamping: 4 + UInt64(UInt32.max)))
            #expect(head?.count == 2)
        }
    }

    /// Every constructor, followed by exactly the bytes it needs, and by one byte less.
    @Test func passesOverEveryKindOfContent() {
        for code in UInt8.min...UInt8.max {
            let size: Int? =
                switch code >> 4 {
                case 0x4: 0
                case 0x5: 1
                case 0x6: 2
                case 0x7: 4
                case 0x8: 8
                case 0x9: 16
                case 0xA, 0xC, 0xE: 1 + 5
                case 0xB, 0xD, 0xF: 4 + 5
                default: nil
                }
            let content: [UInt8] =
                code >> 4 < 0xA ? Array(repeating: 0, count: 16) : code & 0x10 == 0 ? [5] : [0, 0, 0, 5]
            let bytes = (content + Array(repeating: 0, count: 16)).prefix(size ?? 16)
            self.withCursor(Array(bytes)) { cursor in
                #expect(cursor.skipContent(of: code) == (size != nil), "constructor \(code)")
                #expect(cursor.offset == size ?? 0, "constructor \(code)")
            }
            guard let size, size > 0 else { continue }
            self.withCursor(Array(bytes.dropLast())) { cursor in
                #expect(cursor.skipContent(of: code) == false, "constructor \(code), cut off")
            }
        }
    }

    @Test func findsTextThatWasPassedOver() {
        self.withCursor([0xA1, 2, 0x61, 0x62, 0xB3, 0, 0, 0, 1, 0x63, 0x52, 4, 0xA0, 9]) { cursor in
            #expect(cursor.text(at: 0)?.kind == Code.string8)
            #expect(cursor.text(at: 0).map { Array($0.bytes) } == [0x61, 0x62])
            #expect(cursor.text(at: 4)?.kind == Code.symbol8)
            #expect(cursor.text(at: 4).map { Array($0.bytes) } == [0x63])
            #expect(cursor.text(at: 10) == nil)
            // The text claims more bytes than there are.
            #expect(cursor.text(at: 12) == nil)
            #expect(cursor.skip(4) == true)
            #expect(cursor.passedText(from: 0).map { Array($0) } == [0x61, 0x62])
            #expect(cursor.skip(6) == true)
            #expect(cursor.passedText(from: 4).map { Array($0) } == [0x63])
            #expect(cursor.skip(2) == true)
            #expect(cursor.passedText(from: 10) == nil)
        }
    }

    @Test func elementsDoNotReachBeyondTheirCompoundValue() {
        self.withCursor([1, 2, 3, 4, 5]) { cursor in
            #expect(cursor.enter(6) == nil)
            let outerEnd = cursor.enter(3)
            #expect(outerEnd == 5)
            #expect(cursor.integer(UInt32.self) == nil)
            #expect(cursor.skip(3) == true)
            #expect(cursor.byte() == nil)
            cursor.leave(to: outerEnd ?? 0)
            #expect(cursor.byte() == 4)
        }
    }

    @Test func aUsualDescriptorHasThreeBytes() {
        self.withCursor([0x00, 0x53, 0x14]) { cursor in
            #expect(cursor.usualDescriptor == 0x14)
            #expect(cursor.offset == 0)
        }
        for other in [[0x00, 0x53], [0x00, 0x80, 0x14], [0x40, 0x53, 0x14]] as [[UInt8]] {
            self.withCursor(other) { #expect($0.usualDescriptor == nil) }
        }
    }
}

/// The eight bytes that each frame begins with.
struct FramePrefixTests {
    private func prefix(_ bytes: [UInt8]) -> FramePrefix? { bytes.withUnsafeBytes { FramePrefix($0) } }

    @Test func allFieldsAreRead() throws {
        let prefix = try #require(self.prefix([0x01, 0x02, 0x03, 0x04, 0x03, 0x00, 0xAB, 0xCD, 0x99]))
        #expect(prefix.size == 0x0102_0304)
        #expect(prefix.dataOffset == 3)
        #expect(prefix.type == 0)
        #expect(prefix.channel == 0xABCD)
        #expect(prefix.bodyOffset == 12)
    }

    @Test func aBodyNeitherBeginsInThePrefixNorInAFrameOfAnotherType() {
        #expect(self.prefix([0, 0, 0, 8, 2, 0, 0, 0])?.bodyOffset == 8)
        #expect(self.prefix([0, 0, 0, 8, 1, 0, 0, 0])?.bodyOffset == nil)
        #expect(self.prefix([0, 0, 0, 8, 2, 1, 0, 0])?.bodyOffset == nil)
        #expect(self.prefix([0, 0, 0, 8, 2, 0, 0]) == nil)
    }
}
