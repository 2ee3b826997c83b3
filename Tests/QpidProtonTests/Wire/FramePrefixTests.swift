import Testing

@testable import QpidProton

/// The eight bytes that each frame begins with.
@Suite struct FramePrefixTests {
    private func prefix(_ bytes: [UInt8]) -> FramePrefix? { bytes.withUnsafeBytes { FramePrefix($0) } }

    @Test func theFieldsAreBigEndian() throws {
        let prefix = try #require(self.prefix([0x01, 0x02, 0x03, 0x04, 5, 0, 0x06, 0x07, 0xFF]))
        #expect(prefix.size == 0x0102_0304 && prefix.dataOffset == 5 && prefix.type == 0 && prefix.channel == 0x0607)
        #expect(prefix.bodyOffset == 20)
        #expect(self.prefix([0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0])?.size == 0xFFFF_FFFF)
    }

    @Test func lessThanEightBytesAreNone() {
        for count in 0..<8 { #expect(self.prefix(Array(repeating: 0, count: count)) == nil) }
    }

    @Test func aBodyBeginsBehindThePrefixOfAFrameOfAMQP() {
        #expect(self.prefix([0, 0, 0, 8, 2, 0, 0, 0])?.bodyOffset == 8)
        #expect(self.prefix([0, 0, 0, 8, 255, 0, 0, 0])?.bodyOffset == 1_020)
        for offset: UInt8 in [0, 1] { #expect(self.prefix([0, 0, 0, 8, offset, 0, 0, 0])?.bodyOffset == .none) }
        #expect(self.prefix([0, 0, 0, 8, 2, 1, 0, 0])?.bodyOffset == .none)
    }
}
