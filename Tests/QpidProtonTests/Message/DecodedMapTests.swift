// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Maps that keep their encoded bytes.
@Suite struct DecodedMapTests {
    @Test func aDecodedMapEqualsItsOriginal() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        for index in 0..<1_000 {
            let made = generator.map(depth: 1 + index % 3)
            let map = try #require(try decoded(try encoded(.map(made))).mapValue)
            let comment = Comment(rawValue: "seed \(seed), map \(index)")
            #expect(map == made && made == map && map.hashValue == made.hashValue, comment)
            #expect(map.count == made.count && map.isEmpty == made.isEmpty, comment)
            #expect(map.description == made.description, comment)
            #expect(map.map(\.key) == made.map(\.key) && map.map(\.value) == made.map(\.value), comment)
            #expect(map.indices.map { map[$0].key } == made.indices.map { made[$0].key }, comment)
            for (key, value) in made {
                #expect(map[key] == value, comment)
                if case .string(let text) = key { #expect(map[text] == value, comment) }
                if case .symbol(let text) = key { #expect(map[symbol: text] == value, comment) }
            }
            #expect(map["no such key"] == made["no such key"] && map[symbol: "none"] == made[symbol: "none"], comment)
        }
    }

    @Test func changesLeaveTheOtherCopyAlone() throws {
        let made: AMQPMap = ["a": 1, .symbol("a"): 2, .ulong(3): "x"]
        let first = try #require(try decoded(try encoded(.map(made))).mapValue)
        var second = first
        second["a"] = 5
        second[symbol: "a"] = nil
        second["new"] = .null
        #expect(first == made && first.count == 3)
        #expect(second == ["a": 5, .ulong(3): "x", "new": .null] as AMQPMap)
    }

    @Test func wideFormsAreFound() throws {
        // The value is {"k": 1, :k: 2, null: {}}, each part in its widest form.
        let text = bytes(
            "d1 00000024 00000006 b1 00000001 6b 71 00000001 b3 00000001 6b 71 00000002 40 d1 00000004 00000000"
        )
        let map = try #require(try decoded(text).mapValue)
        #expect(map["k"] == .int(1) && map[symbol: "k"] == .int(2) && map[.null] == .map([:]) && map["j"] == nil)
    }

    @Test func equalKeysOfTwoFormsAreTheSameKey() {
        #expect(decodingError("c1 0c 04 a1 01 6b 40 b1 00000001 6b 40") != nil)
        #expect(decodingError("c1 09 04 a1 01 6b 40 a3 01 6b 40") == nil)
        #expect(decodingError("c1 06 04 43 40 52 00 40") != nil)
    }

    @Test func decodedValuesSurviveChangesOfTheBuffer() throws {
        var buffer = try encoded(.map(["key": "a value of more than fifteen bytes", "other": [1, ["inner": 2]]]))
        let map = try #require(try AMQPValue(decoding: &buffer).mapValue)
        buffer.clear()
        buffer.writeRepeatingByte(0xff, count: 200)
        #expect(map["key"] == "a value of more than fifteen bytes")
        #expect(map["other"]?.listValue?.last?.mapValue?["inner"] == 2)
    }

    /// Skipping a value in a map refuses the same bytes as decoding that value in a list.
    @Test func damagedBytesAreRefusedAlike() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        var refused = 0
        for index in 0..<4_000 {
            var damaged = try encoded(generator.value(depth: 1 + index % 4))
            guard damaged.readableBytes > 1 else { continue }
            for _ in 0...generator.below(2) {
                let place = generator.below(damaged.readableBytes)
                damaged.setInteger(generator.integer(UInt8.self), at: place)
            }
            let size = String(damaged.readableBytes + 5, radix: 16)
            let length = String(repeating: "0", count: 8 - size.count) + size
            let list = decodingError("d0 \(length) 00000002 43 \(hex(damaged))")
            let map = decodingError("d1 \(length) 00000002 43 \(hex(damaged))")
            #expect(list == map, "seed \(seed), value \(index)")
            refused += list == nil ? 0 : 1
            guard map == nil else { continue }
            let value = try decoded(bytes("d1 \(length) 00000002 43 \(hex(damaged))"))
            #expect(Self.wholeCount(value) == Self.count(value), "seed \(seed), value \(index)")
        }
        #expect(refused > 100)
    }

    /// The number of keys and values according to the maps' counts, and according to their elements.
    private static func count(_ value: AMQPValue) -> Int {
        self.sum(value) { 2 * $0.count }
    }

    private static func wholeCount(_ value: AMQPValue) -> Int {
        self.sum(value) { $0.flat.count }
    }

    private static func sum(_ value: AMQPValue, _ size: (AMQPMap) -> Int) -> Int {
        switch value {
        case .map(let map): map.reduce(size(map)) { $0 + self.sum($1.key, size) + self.sum($1.value, size) }
        case .list(let list): list.reduce(0) { $0 + self.sum($1, size) }
        case .described(let value): self.sum(value.descriptor, size) + self.sum(value.value, size)
        default: 0
        }
    }
}
