// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The fields of a performative, in the encodings of the standard and no others.
@Suite struct FieldReaderTests {
    private func read<Value>(_ bytes: [UInt8], _ body: (inout FieldReader) -> Value) -> Value {
        bytes.withUnsafeBytes {
            var reader = FieldReader($0, offset: 0)
            return body(&reader)
        }
    }

    /// Reads a list8 with these bytes and this count of fields.
    private func list<Value>(_ count: UInt8, _ fields: [UInt8], _ body: (inout FieldReader) -> Value) -> Value? {
        self.read([0xC0, UInt8(fields.count + 1), count] + fields) { $0.list() ? body(&$0) : nil }
    }

    @Test func aDescriptorIsAUlongOrASymbol() {
        #expect(self.read([0, 0x53, 0x14]) { $0.descriptor() } == 0x14)
        #expect(self.read([0, 0x80, 0, 0, 0, 1, 0, 0, 0, 0x14]) { $0.descriptor() } == 0x1_0000_0014)
        // A symbol has no number. Neither does a uint, an undescribed value or a truncated value.
        let others: [[UInt8]] = [[0, 0xA3, 1, 0x61], [0, 0x52, 0x14], [0x53, 0x14], [0, 0x53], [0], []]
        for bytes in others { #expect(self.read(bytes) { $0.descriptor() } == nil, "\(bytes)") }
        #expect(self.read([0, 0xA3, 1, 0x61]) { $0.anyDescriptor() } == .name("a"))
        #expect(self.read([0, 0xB3, 0, 0, 0, 2, 0x61, 0x62]) { $0.anyDescriptor() } == .name("ab"))
        #expect(self.read([0, 0x53, 0x14]) { $0.anyDescriptor() } == .code(0x14))
        let bad: [[UInt8]] = [[0, 0xA1, 1, 0x61], [0, 0xA3, 2, 0x61], [0x53, 0x14], []]
        for bytes in bad { #expect(self.read(bytes) { $0.anyDescriptor() } == nil, "\(bytes)") }
    }

    @Test func theUsualDescriptorIsLeftInPlace() {
        #expect(self.read([0, 0x53, 0x24, 0x45]) { [$0.usualDescriptor.map(Int.init), $0.offset] } == [0x24, 0])
        #expect(self.read([0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x24]) { $0.usualDescriptor } == nil)
    }

    @Test func aListIsOneOfThreeKinds() {
        #expect(self.read([0x45]) { [$0.list() ? 1 : 0, $0.end, $0.left] } == [1, 1, 0])
        #expect(self.read([0xC0, 2, 1, 0x40]) { [$0.list() ? 1 : 0, $0.end, $0.left] } == [1, 4, 1])
        #expect(
            self.read([0xD0, 0, 0, 0, 5, 0, 0, 0, 1, 0x40]) { [$0.list() ? 1 : 0, $0.end, $0.left] } == [1, 10, 1]
        )
        let others: [[UInt8]] = [
            [0xC1, 1, 0], [0xE0, 2, 0, 0x40], [0x40], [0xC0], [0xC0, 2], [0xD0, 0, 0, 0, 5], [],
        ]
        for bytes in others { #expect(!self.read(bytes) { $0.list() }, "\(bytes)") }
    }

    /// A field behind the last one is null, unless the list's size includes more bytes.
    @Test func fieldsThatAreLeftOutAreNull() {
        #expect(self.list(1, [0x43]) { [$0.uint()?.value, $0.uint()?.value ?? 99] } == [0, 99])
        #expect(
            self.list(1, [0x43]) {
                _ = $0.uint(); return $0.bool() == nil
            } == false
        )
        #expect(
            self.list(1, [0x43, 0x40]) {
                _ = $0.uint(); return $0.uint() == nil
            } == true
        )
        #expect(self.read([0x45]) { $0.list() && $0.passBinary() && $0.uint() != nil && $0.ushort() != nil })
    }

    @Test func aUintHasThreeEncodings() {
        let fields: [UInt8] = [0x43, 0x52, 7, 0x70, 1, 2, 3, 4, 0x40]
        let values = self.list(4, fields) { [$0.uint()?.value, $0.uint()?.value, $0.uint()?.value, $0.uint()?.value] }
        #expect(values == [0, 7, 0x0102_0304, nil])
        for field: [UInt8] in [[0x50, 1], [0x60, 0, 1], [0x71, 0, 0, 0, 1], [0x44], [0x70, 0, 0], [0x52]] {
            #expect(self.list(1, field) { $0.uint() == nil } == true, "\(field)")
        }
    }

    @Test func onlyAUintOfFourBytesHasAPlaceForAnother() {
        #expect(
            self.list(2, [0x43, 0x70, 1, 2, 3, 4]) { [Int($0.uint()?.value ?? 9), $0.wideUint() ?? 9] } == [0, 5]
        )
        #expect(self.list(1, [0x52, 1]) { $0.wideUint() == nil } == true)
        #expect(self.list(1, [0x70, 1, 2, 3]) { $0.wideUint() == nil } == true)
    }

    @Test func booleansAndUshortsAreNoOtherNumbers() {
        let fields: [UInt8] = [0x41, 0x42, 0x56, 1, 0x56, 0, 0x40]
        #expect(
            self.list(5, fields) { reader in (0..<5).map { _ in reader.bool()?.value } }
                == [true, false, true, false, nil]
        )
        #expect(self.list(2, [0x60, 1, 2, 0x40]) { [$0.ushort()?.value, $0.ushort()?.value] } == [0x0102, nil])
        #expect(self.list(1, [0x50, 1]) { $0.bool() == nil } == true)
        #expect(self.list(1, [0x52, 1]) { $0.ushort() == nil } == true)
    }

    @Test func textsAndBinariesKeepToTheirTypes() {
        let fields: [UInt8] = [0xA1, 2, 0x68, 0x69, 0xB1, 0, 0, 0, 1, 0x78, 0xA3, 1, 0x61]
        #expect(self.list(3, fields) { [$0.string(), $0.string(), $0.string()] } == ["hi", "x", nil])
        #expect(self.list(1, [0xA1, 1, 0xFF]) { $0.string() } == .some("\u{FFFD}"))
        let binaries: [UInt8] = [0xA0, 1, 9, 0xB0, 0, 0, 0, 1, 9, 0x40, 0xA1, 0]
        #expect(
            self.list(4, binaries) { reader in (0..<4).map { _ in reader.passBinary() } }
                == [true, true, true, false]
        )
        #expect(self.list(1, [0xA0, 2, 8, 9]) { $0.smallBinary() } == .some(5..<7))
        #expect(self.list(1, [0xB0, 0, 0, 0, 1, 9]) { $0.smallBinary() == nil } == true)
        #expect(self.list(1, [0xA0, 3, 8, 9]) { $0.smallBinary() == nil } == true)
    }

    @Test func symbolsAreOneOrAnArray() {
        let array: [UInt8] = [0xE0, 6, 2, 0xA3, 1, 0x61, 1, 0x62]
        let fields = [0xA3, 1, 0x63] + array + [0x40, 0xA1, 1, 0x64]
        #expect(
            self.list(4, fields) { reader in (0..<5).map { _ in reader.symbols() } }
                == [["c"], ["a", "b"], [], [], []]
        )
    }

    @Test func zeroBytesAreFoundInTextsAlone() {
        let fields: [UInt8] = [0xA1, 1, 0, 0xA3, 2, 0x61, 0, 0xA1, 1, 0x61, 0xA0, 1, 0, 0x40]
        #expect(
            self.list(5, fields) { reader in (0..<5).map { _ in reader.passText() } }
                == [true, true, false, false, false]
        )
        #expect(self.list(1, [0xA1, 2, 0]) { $0.passText() == nil } == true)
        let terminus: [UInt8] = [0, 0x53, 0x28, 0xC0, 4, 1, 0xA1, 1, 0]
        #expect(self.list(2, terminus + [0x43]) { [$0.passTerminus(), $0.uint()?.value == 0] } == [true, true])
        #expect(self.list(1, [0, 0x53, 0x28, 0xC0, 4, 1, 0xA1, 1, 0x61]) { $0.passTerminus() } == .some(false))
    }

    @Test func rangesOfFieldsEndWithTheList() {
        let fields: [UInt8] = [0x43, 0x70, 0, 0, 0, 1, 0, 0x53, 0x24, 0x45]
        #expect(self.list(3, fields) { $0.fieldRanges(most: 3) } == .some([3..<4, 4..<9, 9..<13]))
        #expect(self.list(3, fields) { $0.fieldRanges(most: 2) == nil } == true)
        #expect(self.list(2, fields) { $0.fieldRanges(most: 9) == nil } == true)
        #expect(self.list(4, fields) { $0.fieldRanges(most: 9) == nil } == true)
    }

    @Test func aMapIsReadIfItIsSmallAndComplete() {
        #expect(self.list(1, [0xC1, 4, 2, 0x43, 0x52, 7]) { $0.map()?[.uint(0)] } == .some(.uint(7)))
        #expect(self.list(1, [0xC0, 1, 0]) { $0.map() == nil } == true)
        #expect(self.list(1, [0xC1, 9, 2, 0x43, 0x52, 7]) { $0.map() == nil } == true)
        let large: [UInt8] = [0xD1, 0, 0, 4, 0, 0, 0, 0, 0] + Array(repeating: 0x40, count: 1_020)
        #expect(self.read([0xD0, 0, 0, 4, 9, 0, 0, 0, 1] + large) { $0.list() ? $0.map() == nil : nil } == true)
    }
}
