// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The check of the AMQP 1.0 header that every peer sends first, in pieces of any size.
@Suite struct HeaderCheckTests {
    private static let header: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]

    /// Passes the bytes to a check in pieces of one size. Returns its error, and whether the header is complete.
    private func check(_ bytes: [UInt8], pieces: Int) -> (error: AMQPError?, isPassed: Bool) {
        var check = HeaderCheck()
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            let piece = ByteBuffer(bytes: bytes[start..<min(start + pieces, bytes.count)])
            if let error = check.check(piece) { return (error, check.isPassed) }
        }
        return (nil, check.isPassed)
    }

    @Test(arguments: 1...9)
    func theHeaderPassesInPiecesAndLaterBytesAreIgnored(pieces: Int) {
        #expect(self.check(Self.header, pieces: pieces).isPassed)
        let (error, isPassed) = self.check(Self.header + [0xFF, 0xFF, 0xFF], pieces: pieces)
        #expect(error == nil && isPassed)
        let part = self.check(Array(Self.header[..<7]), pieces: pieces)
        #expect(part.error == nil && !part.isPassed)
    }

    @Test(arguments: 0..<8, [1, 3, 8])
    func everyOtherByteIsRefused(place: Int, pieces: Int) throws {
        var bytes = Self.header
        bytes[place] = 0xEE
        let (error, isPassed) = self.check(bytes, pieces: pieces)
        let found = try #require(error)
        #expect(!isPassed && found.condition == .connectionFramingError && found.scope == .connection)
        #expect(found.detail.contains(" ee") && found.detail.contains("does not speak AMQP 1.0"))
    }

    @Test(arguments: 1...8)
    func aPeerThatAsksForALoginIsNamed(pieces: Int) throws {
        var bytes = Self.header
        bytes[4] = 3
        let error = try #require(self.check(bytes, pieces: pieces).error)
        #expect(error.detail.contains("SASL") && error.ending == .refused)
    }

    @Test(arguments: [
        ([0x15, 3, 3, 0, 2, 2, 40], "it speaks TLS, and this side does not: both need amqps://"),
        ([0x16, 3, 1], "it speaks TLS"), (Array("HTTP/1.1 400".utf8), "it speaks HTTP: check the port"),
        (Array("220 mail".utf8), "it speaks an unknown protocol: check the port"),
    ])
    func anotherProtocolIsNamedWithItsRemedy(bytes: [UInt8], text: String) throws {
        let error = try #require(self.check(bytes, pieces: bytes.count).error)
        #expect(error.detail.contains(text), "\(error)")
    }

    @Test func anEmptyReadIsNoHeader() {
        var check = HeaderCheck()
        #expect(check.check(ByteBuffer()) == nil && !check.isPassed)
    }
}
