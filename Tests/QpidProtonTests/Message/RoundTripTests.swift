// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

@Suite struct RoundTripTests {
    @Test func valuesSurvive() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        for index in 0..<4000 {
            let value = generator.value(depth: index % 5)
            var size = EncodedSize()
            try size.add(value)
            let bytes = try encoded(value)
            #expect(bytes.readableBytes <= size.bytes, "seed \(seed), value \(index)")
            #expect(try decoded(bytes) == value, "seed \(seed), value \(index)")
            // The bytes must be equal, not only the values, because the encoding is a function of the value.
            #expect(try encoded(try decoded(bytes)) == bytes, "seed \(seed), value \(index)")
        }
    }

    @Test func messagesSurvive() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        for index in 0..<3000 {
            let message = generator.message()
            let bytes = try message.encoded()
            #expect(bytes.readableBytes <= message.encodedSizeHint, "seed \(seed), message \(index)")
            let copy = try AMQPMessage(decoding: bytes)
            #expect(copy == message, "seed \(seed), message \(index)")
            #expect(copy.hashValue == message.hashValue, "seed \(seed), message \(index)")
            #expect(try copy.encoded() == bytes, "seed \(seed), message \(index)")
        }
    }

    @Test(arguments: AMQPType.allCases)
    func everyTypeSurvivesAtEveryPlace(_ type: AMQPType) throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        for index in 0..<60 {
            let value = generator.value(type, depth: 2)
            let other = generator.value(type, depth: 2)
            let array = AMQPArray(uniform: [value, other, value], type: type, descriptors: [])
            let nested = AMQPArray(
                uniform: [.array(array), .array(AMQPArray(emptyOf: type))],
                type: .array,
                descriptors: []
            )
            for whole: AMQPValue in [
                value, .list([value]), .map([value: other]), .array(array), .array(nested), .described(7, value),
                .described(AMQPDescribed(descriptor: value, value: other)),
            ] {
                #expect(try decoded(try encoded(whole)) == whole, "seed \(seed), \(type) \(index)")
            }
        }
    }

    @Test func nestingSurvivesToTheLimit() throws {
        let limits = AMQPDecodingLimits(maximumDepth: AMQPDecodingLimits.highestDepth)
        let wrappers: [(AMQPValue) -> AMQPValue] = [
            { .list([$0]) }, { .map(["k": $0]) }, { .map([$0: "v"]) }, { .described(1, $0) },
            { .described(AMQPDescribed(descriptor: $0, value: 1)) },
            { .array(AMQPArray(uniform: [$0, $0], type: $0.type ?? .null, descriptors: [])) },
        ]
        for (index, wrap) in wrappers.enumerated() {
            // The last case doubles the bytes at each level.
            let depth = index == 5 ? 12 : AMQPDecodingLimits.highestDepth
            var value = AMQPValue.array(AMQPArray(strings: ["x"]))
            for _ in 1..<depth { value = wrap(value) }
            #expect(try decoded(try encoded(value), limits: limits) == value)
            guard depth == AMQPDecodingLimits.highestDepth else { continue }
            let deeper = wrap(value)
            #expect(throws: AMQPError.self) { try encoded(deeper) }
        }
    }

    /// The available memory does not change the encoding. The test tries every capacity, up to more than needed.
    @Test func theEncodingIsIndependentOfTheCapacity() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        for index in 0..<60 {
            let message = generator.message()
            let bytes = try message.encoded()
            for capacity in stride(from: 0, through: bytes.readableBytes + 64, by: 1 + bytes.readableBytes / 50) {
                var buffer = ByteBuffer(string: "before")
                buffer.reserveCapacity(minimumWritableBytes: capacity)
                try message.encode(into: &buffer)
                #expect(buffer.readSlice(length: 6) == ByteBuffer(string: "before"))
                #expect(buffer == bytes, "seed \(seed), message \(index), capacity \(capacity)")
            }
        }
    }

    /// With and without preallocated memory, a value that is too deep is refused, and nothing is written.
    @Test(arguments: [0, 1 << 16])
    func depthIsLimitedForAnyCapacity(_ capacity: Int) throws {
        let highest = AMQPDecodingLimits.highestDepth
        let innermost: [(AMQPValue, depth: Int)] = [
            (1, 0), (.list([]), 1), (.list([1]), 1), (.map([:]), 1), (.described(1, 2), 1),
            (.array(AMQPArray(emptyOf: .int)), 1),
            (.array(AMQPArray(emptyOf: .int, descriptors: [.ulong(1), .ulong(2)])), 3),
            (.array(try AMQPArray([.described(1, .list([])), .described(1, .list([1]))])), 3),
        ]
        for (value, depth) in innermost {
            let limit = (depth..<highest).reduce(value) { inner, _ in .list([inner]) }
            var buffer = ByteBuffer()
            buffer.reserveCapacity(capacity)
            try limit.encode(into: &buffer)
            buffer.clear()
            #expect(throws: AMQPError.self, "\(value)") { try AMQPValue.list([limit]).encode(into: &buffer) }
            #expect(buffer.readableBytes == 0)
        }
    }

    @Test func bitsSurvive() throws {
        for bits: UInt64 in [0x7ff8_0000_0000_0001, 0x7ff0_0000_0000_0001, 0xfff8_dead_beef_0000, 1 << 63] {
            guard case .double(let number) = try decoded(try encoded(.double(Double(bitPattern: bits)))) else {
                Issue.record("another type")
                return
            }
            #expect(number.bitPattern == bits)
        }
        for bits: UInt32 in [0x7fc0_0001, 0x7f80_0001, 0x8000_0000] {
            guard case .float(let number) = try decoded(try encoded(.float(Float(bitPattern: bits)))) else {
                Issue.record("another type")
                return
            }
            #expect(number.bitPattern == bits)
        }
        // Texts that Swift treats as equal and AMQP does not.
        let composed = "\u{e9}"
        let decomposed = "e\u{301}"
        #expect(try encoded(.string(composed)) != encoded(.string(decomposed)))
        #expect(AMQPValue.string(composed) != .string(decomposed))
        let map: AMQPMap = [.string(composed): 1, .string(decomposed): 2]
        #expect(try decoded(try encoded(.map(map))).mapValue?.count == 2)
    }
}
