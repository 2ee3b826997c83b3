// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The three fields of an attach that the library encodes in place of its properties.
@Suite struct AttachFieldsTests {
    private func split(_ bytes: [UInt8]) -> [Range<Int>]? { bytes.withUnsafeBytes { AttachFields.split($0) } }

    @Test func eachFieldIsFoundAtItsPosition() {
        let offered: [UInt8] = [0xA3, 1, 0x61]
        let desired: [UInt8] = [0xE0, 4, 1, 0xA3, 1, 0x62]
        let properties: [UInt8] = [0xC1, 1, 0]
        #expect(self.split(offered + desired + properties) == [0..<3, 3..<9, 9..<12])
        #expect(self.split([0x40, 0x40, 0x40]) == [0..<1, 1..<2, 2..<3])
    }

    @Test func otherBytesAreNotSplit() {
        let others: [[UInt8]] = [
            [], [0x40, 0x40], [0x40, 0x40, 0x40, 0x40], [0x40, 0x40, 0xA3, 2, 0x61], [0x40, 0x01, 0x40],
        ]
        for bytes in others { #expect(self.split(bytes) == nil, "\(bytes)") }
    }

    @Test func theFieldPositionsMatchTheStandard() {
        // AMQP 1.0 §2.7.3 defines offered-capabilities, desired-capabilities and properties at these positions.
        #expect(Array(AttachFields.all) == [11, 12, 13] && AttachFields.properties == 13)
    }
}
