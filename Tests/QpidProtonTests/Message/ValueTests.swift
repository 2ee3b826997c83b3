// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

@Suite struct ValueTests {
    @Test func literals() {
        let value: AMQPValue = [nil, true, 1, 1.5, "s", ["k": [2]]]
        #expect(
            value == .list([.null, .bool(true), .long(1), .double(1.5), .string("s"), .map(["k": .list([.long(2)])])])
        )
        let map: AMQPMap = ["a": 1, "b": 2, "a": 3]
        #expect(map.map(\.key) == ["a", "b"] && map["a"] == 3)
        let id: AMQPMessageID = "x"
        let number: AMQPMessageID = 7
        #expect(id == .string("x") && number == .ulong(7))
    }

    @Test func aGetterReturnsOnlyValuesOfItsType() {
        let integers: [AMQPValue] = [
            .ubyte(7), .ushort(7), .uint(7), .ulong(7), .byte(7), .short(7), .int(7), .long(7),
        ]
        for value in integers {
            #expect(value.intValue == 7 && value.uintValue == 7 && value.doubleValue == nil)
        }
        for value: AMQPValue in [.byte(-1), .short(-1), .int(-1), .long(-1)] {
            #expect(value.intValue == -1 && value.uintValue == nil)
        }
        #expect(AMQPValue.ulong(.max).intValue == nil && AMQPValue.ulong(.max).uintValue == .max)
        #expect(AMQPValue.float(1.5).doubleValue == 1.5 && AMQPValue.double(2).doubleValue == 2)
        #expect(AMQPValue.string("a").stringValue == "a" && AMQPValue.string("a").symbolValue == nil)
        #expect(AMQPValue.symbol("a").symbolValue == "a" && AMQPValue.symbol("a").stringValue == nil)
        #expect(AMQPValue.bool(true).boolValue == true && AMQPValue.null.boolValue == nil)
        #expect(AMQPValue.null.isNull && !AMQPValue.bool(false).isNull)
        #expect(AMQPValue.char("x").charValue == "x" && AMQPValue.null.charValue == nil)
        #expect(AMQPValue.uuid(sampleUUID).uuidValue == sampleUUID && AMQPValue.null.uuidValue == nil)
        let time = AMQPTimestamp(millisecondsSinceEpoch: 5)
        #expect(AMQPValue.timestamp(time).timestampValue == time && AMQPValue.long(5).timestampValue == nil)
        #expect(AMQPValue.binary(ByteBuffer(bytes: [1])).binaryValue?.readableBytes == 1)
        #expect(AMQPValue.list([1]).listValue == [1] && AMQPValue.null.listValue == nil)
        #expect(AMQPValue.map(["a": 1]).mapValue == ["a": 1] && AMQPValue.null.mapValue == nil)
        let array = AMQPArray(symbols: ["a"])
        #expect(AMQPValue.array(array).arrayValue == array && AMQPValue.null.arrayValue == nil)
        #expect(AMQPValue.described(1, "x").describedValue?.value == "x" && AMQPValue.null.describedValue == nil)
        #expect(AMQPValue.null.binaryValue == nil && AMQPValue.described(1, nil).type == nil)
    }

    @Test func equalityIsOfTypesAndBits() {
        #expect(AMQPValue.int(1) != .long(1))
        #expect(AMQPValue.float(.nan) == .float(.nan) && AMQPValue.double(.nan) == .double(.nan))
        #expect(AMQPValue.double(0.0) != .double(-0.0) && AMQPValue.float(0.0) != .float(-0.0))
        #expect(AMQPValue.string("a") != .symbol("a"))
        #expect(AMQPValue.map(["a": 1, "b": 2]) != .map(["b": 2, "a": 1]))
        #expect(Set<AMQPValue>([1, 1, .int(1), .double(.nan), .double(.nan), "x", .symbol("x")]).count == 5)
    }

    @Test func mapKeepsItsOrder() {
        var map = AMQPMap()
        #expect(map.isEmpty && map["a"] == nil)
        map["b"] = 1
        map["a"] = 2
        map[symbol: "a"] = 3
        map[.ulong(5)] = 4
        map["b"] = 5
        #expect(map.map(\.key) == ["b", "a", .symbol("a"), .ulong(5)])
        #expect(map.map(\.value) == [5, 2, 3, 4])
        #expect(map["a"] == 2 && map[symbol: "a"] == 3 && map[.ulong(5)] == 4 && map[.uint(5)] == nil)
        map["a"] = nil
        map["none"] = nil
        map["b"] = .null
        #expect(map.count == 3 && map["a"] == nil && map["b"] == .null)
        #expect(map.first?.key == "b" && map.reversed().first?.key == .ulong(5))
        #expect(map.description == "{\"b\": null, :a: 3, 5: 4}")
    }

    @Test func arraysAreOfOneType() throws {
        #expect(try AMQPArray([1, 2]).elementType == .long)
        #expect(throws: AMQPError.self) { try AMQPArray([1, .int(2)]) }
        #expect(throws: AMQPError.self) { try AMQPArray([]) }
        #expect(throws: AMQPError.self) { try AMQPArray([.described(1, "x"), .described(2, "x")]) }
        #expect(throws: AMQPError.self) { try AMQPArray([.described(1, "x"), "x"]) }
        #expect(throws: AMQPError.self) { try AMQPArray(["x", .described(1, "x")]) }
        #expect(throws: AMQPError.self) { try AMQPArray([.described(1, "x"), .described(1, 5)]) }
        let described = try AMQPArray([.described(1, "x"), .described(1, "y")])
        #expect(described.descriptors == [.ulong(1)] && described.elementType == .string && described.count == 2)
        let twice = try AMQPArray([.described(1, .described(2, nil))])
        #expect(twice.descriptors == [.ulong(1), .ulong(2)] && twice.elementType == .null)
        #expect(try decoded(try encoded(.array(twice))) == .array(twice))
        let empty = AMQPArray(emptyOf: .map, descriptors: [.ulong(9)])
        #expect(try decoded(try encoded(.array(empty))) == .array(empty))
        #expect(AMQPArray(emptyOf: .map) != AMQPArray(emptyOf: .list))
        #expect(described.description == "@1 string[@1 \"x\", @1 \"y\"]")
    }

    @Test func timestampsAndDates() {
        for milliseconds: Int64 in [0, 1, -1, 1_700_000_000_123, -62_135_596_800_000, 253_402_300_799_999] {
            let time = AMQPTimestamp(millisecondsSinceEpoch: milliseconds)
            #expect(AMQPTimestamp(time.date) == time)
        }
        #expect(AMQPTimestamp(Date(timeIntervalSince1970: 1e300)).millisecondsSinceEpoch == .max)
        #expect(AMQPTimestamp(Date(timeIntervalSince1970: -1e300)).millisecondsSinceEpoch == .min)
        #expect(AMQPTimestamp(Date(timeIntervalSince1970: .nan)).millisecondsSinceEpoch == .min)
        #expect(AMQPTimestamp(millisecondsSinceEpoch: 1) < AMQPTimestamp.now())
    }

    @Test func timeToLiveIsInWholeMilliseconds() {
        func milliseconds(_ duration: Duration) -> UInt32 { AMQPHeader(timeToLive: duration).timeToLiveMilliseconds }
        #expect(milliseconds(.zero) == 0 && milliseconds(.seconds(-5)) == 0 && milliseconds(.nanoseconds(-1)) == 0)
        #expect(milliseconds(.nanoseconds(1)) == 1 && milliseconds(.microseconds(1001)) == 2)
        #expect(milliseconds(.milliseconds(4_294_967_295)) == .max)
        #expect(milliseconds(.milliseconds(4_294_967_296)) == .max && milliseconds(.seconds(Int64.max)) == .max)
        #expect(AMQPHeader().timeToLive == nil && AMQPHeader(timeToLive: .zero).timeToLive == .zero)
        #expect(AMQPHeader().isEmpty && !AMQPHeader(timeToLive: .zero).isEmpty)
    }

    @Test func textsOfOneLengthDifferInAnyByte() throws {
        for count in 1...20 {
            let text = String(repeating: "a", count: count)
            var encoded = ByteBuffer()
            try AMQPValue.map(AMQPMap([(key: .string(text), value: .bool(true))])).encode(into: &encoded)
            let decoded = try #require(AMQPValue(decoding: &encoded).mapValue)
            #expect(decoded[text] == .bool(true) && AMQPValue.string(text) == .string(text))
            for place in 0..<count {
                var bytes = Array(text.utf8)
                bytes[place] = UInt8(ascii: "b")
                let other = String(decoding: bytes, as: UTF8.self)
                #expect(decoded[other] == nil && AMQPValue.string(text) != .string(other))
            }
        }
    }

    @Test func aCopyOfAnErrorIsItsOwn() {
        let error = AMQPError(scope: .link, condition: .notFound, detail: "no such queue")
        var copy = error
        copy.detail += ", as said before"
        copy.origin = .peer
        #expect(error.detail == "no such queue" && error.origin == .local && copy != error)
        copy.detail = error.detail
        copy.origin = .local
        #expect(copy == error && copy.hashValue == error.hashValue)
        #expect(MemoryLayout<AMQPError?>.size == MemoryLayout<Int>.size)
    }

    @Test func layoutStaysSmall() {
        #expect(MemoryLayout<AMQPValue>.size <= 24)
        #expect(MemoryLayout<AMQPMessage>.size <= 64)
    }
}
