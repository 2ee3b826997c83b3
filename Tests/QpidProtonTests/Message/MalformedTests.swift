// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Any bytes decode to an error or a value, and a decoded value survives encoding.
@Suite struct MalformedTests {
    private func samples() throws -> [ByteBuffer] {
        var generator = ValueGenerator(seed: 2)
        var samples = [try fullMessage().encoded()]
        while samples.count < 12 {
            let bytes = try generator.message().encoded()
            if bytes.readableBytes > 20, bytes.readableBytes < 600 { samples.append(bytes) }
        }
        return samples
    }

    /// Decodes the bytes. A decoded message must encode, and decode to the same message again. Returns whether the
    /// bytes decoded.
    @discardableResult
    private func probe(_ buffer: ByteBuffer, _ origin: @autoclosure () -> String) -> Bool {
        do throws(AMQPError) {
            let message = try AMQPMessage(decoding: buffer)
            let again = try AMQPMessage(decoding: try message.encoded())
            #expect(again == message, "\(origin())")
            return true
        } catch {
            #expect(error.condition == .decodeError && error.scope == .delivery, "\(error): \(origin())")
            return false
        }
    }

    private func probeValue(_ buffer: ByteBuffer, _ origin: @autoclosure () -> String) {
        do throws(AMQPError) {
            var rest = buffer
            let value = try AMQPValue(decoding: &rest)
            var encoded = ByteBuffer()
            try value.encode(into: &encoded)
            let again = try AMQPValue(decoding: &encoded)
            #expect(again == value, "\(origin())")
        } catch {
            #expect(error.condition == .decodeError, "\(error): \(origin())")
        }
    }

    @Test func cutAnywhere() throws {
        for (index, sample) in try self.samples().enumerated() {
            var whole = 0
            for length in 0..<sample.readableBytes {
                guard let cut = sample.getSlice(at: sample.readerIndex, length: length) else { continue }
                if self.probe(cut, "sample \(index) cut at \(length)") { whole += 1 }
            }
            // Only a cut between two sections leaves a message. There are at most nine such cuts, plus the empty
            // message.
            #expect(whole <= 410)
        }
    }

    @Test func everyBitFlipped() throws {
        for (index, sample) in try self.samples().enumerated() {
            let original = Array(sample.readableBytesView)
            for byte in original.indices {
                for bit in 0..<8 {
                    var flipped = original
                    flipped[byte] ^= 1 << bit
                    self.probe(ByteBuffer(bytes: flipped), "sample \(index), byte \(byte), bit \(bit)")
                }
            }
        }
    }

    @Test func randomBytes() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        let codes: [UInt8] = [
            0x00, 0x40, 0x41, 0x43, 0x44, 0x45, 0x52, 0x53, 0x54, 0x55, 0x56, 0x70, 0x73, 0x80, 0x98, 0xa0, 0xa1, 0xa3,
            0xb0, 0xb1, 0xb3, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0, 0x01, 0x02, 0x03, 0x04, 0x08, 0x10, 0xff,
        ]
        for index in 0..<20_000 {
            // Valid constructors and small numbers reach deeper than random bytes.
            let random = (0..<generator.below(60)).map { _ in
                generator.below(4) == 0 ? UInt8(generator.below(256)) : codes[generator.below(codes.count)]
            }
            self.probeValue(ByteBuffer(bytes: random), "seed \(seed), bytes \(index)")
            let section = UInt8(0x70 + generator.below(9))
            self.probe(ByteBuffer(bytes: [0, 0x53, section] + random), "seed \(seed), section \(index)")
        }
    }

    @Test func splicedMessages() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        let samples = try self.samples().map { Array($0.readableBytesView) }
        for index in 0..<5000 {
            let left = samples[generator.below(samples.count)]
            let right = samples[generator.below(samples.count)]
            let spliced = left.prefix(generator.below(left.count)) + right.suffix(generator.below(right.count))
            self.probe(ByteBuffer(bytes: spliced), "seed \(seed), splice \(index)")
        }
    }
}
