// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

@Suite struct LimitsTests {
    @Test func deepNestingIsRefusedInEveryWay() throws {
        let depth = 10_000
        // All these values also have a wrong size somewhere. Any of their faults may be found first.
        let prefixes = ["00", "0000", "c0ff01", "d0000fffff00000001", "c1ff02", "e0ff01e0ff01", "f0000fffff0000000100"]
        for prefix in prefixes {
            let error = decodingError(String(repeating: prefix, count: depth))
            #expect(error?.condition == .decodeError, "\(prefix)")
        }
        // The same nesting with correct sizes.
        var value = AMQPValue.null
        for _ in 0..<AMQPDecodingLimits.highestDepth { value = .list([value]) }
        let deep = try encoded(value)
        #expect(
            throws: AMQPError(scope: .delivery, condition: .decodeError, detail: "values nested too deep at byte 288")
        ) { try decoded(deep) }
    }

    @Test func depthIsExact() throws {
        func nested(_ depth: Int) throws -> ByteBuffer {
            try encoded(
                (0..<depth).reduce(AMQPValue.null) { value, level in
                    level.isMultiple(of: 2) ? .list([value]) : .described(1, value)
                }
            )
        }
        for depth in [0, 1, 5, 128] {
            let limits = AMQPDecodingLimits(maximumDepth: depth)
            _ = try decoded(try nested(depth), limits: limits)
            guard depth < 128 else { continue }
            #expect(throws: AMQPError.self) { try decoded(try nested(depth + 1), limits: limits) }
        }
        // Leaving a value lowers the depth again.
        let wide = AMQPValue.list(Array(repeating: [.map(["k": .array(AMQPArray(strings: ["x"]))])], count: 50))
        _ = try decoded(try encoded(wide), limits: AMQPDecodingLimits(maximumDepth: 4))
        #expect(throws: AMQPError.self) { try decoded(try encoded(wide), limits: AMQPDecodingLimits(maximumDepth: 3)) }
        // Limits out of range count as the nearest valid ones.
        _ = try decoded(bytes("41"), limits: AMQPDecodingLimits(maximumDepth: -1, maximumElements: -1))
        _ = try decoded(try nested(100), limits: AMQPDecodingLimits(maximumDepth: .max, maximumElements: .max))
    }

    @Test func fourBillionElementsAreRefusedWithoutMemory() throws {
        // Elements of zero width: only the limit refuses them.
        for code in ["40", "41", "42", "43", "44", "45"] {
            #expect(decodingError("f000000005ffffffff\(code)")?.detail == "too many elements at byte 10")
        }
        for code in ["50", "70", "a1", "b1", "c0", "d0", "e0", "f0", "98"] {
            let error = decodingError("f000000005ffffffff\(code)")
            #expect(error?.detail == "a count of 4294967295 elements, more than the bytes can hold at byte 5")
        }
        // Described elements of zero width.
        #expect(decodingError("f000000007ffffffff004140")?.condition == .decodeError)
        // Many such arrays share one budget.
        let array = "f00000000500010000" + "40"
        #expect(decodingError("c02904" + String(repeating: array, count: 4))?.detail == "too many elements at byte 43")
        _ = try decoded(bytes("c01f03" + String(repeating: array, count: 3)))
    }

    @Test func elementsAreCountedExactly() throws {
        let value: AMQPValue = [1, ["k": [true]], .described(1, 2)]
        let bytes = try encoded(value)
        // Three elements of the list, two of the map, one of the inner list, and one for the described value.
        _ = try decoded(bytes, limits: AMQPDecodingLimits(maximumElements: 7))
        #expect(throws: AMQPError.self) { try decoded(bytes, limits: AMQPDecodingLimits(maximumElements: 6)) }
        // The elements that a list claims are never refunded, so nested claims cannot add up.
        let list = AMQPValue.list(Array(repeating: .null, count: 1000))
        let message = try AMQPMessage(body: list).encoded()
        _ = try AMQPMessage(decoding: message, limits: AMQPDecodingLimits(maximumElements: 1000))
        #expect(throws: AMQPError.self) {
            try AMQPMessage(decoding: message, limits: AMQPDecodingLimits(maximumElements: 999))
        }
    }

    @Test func emptySectionsCountToo() throws {
        let sections = AMQPMessage.Body.data(Array(repeating: ByteBuffer(), count: 11))
        let bytes = try AMQPMessage(body: sections).encoded()
        _ = try AMQPMessage(decoding: bytes, limits: AMQPDecodingLimits(maximumElements: 10))
        #expect(throws: AMQPError.self) {
            try AMQPMessage(decoding: bytes, limits: AMQPDecodingLimits(maximumElements: 9))
        }
    }

    /// Keys with the same quick hash: the first and the last eight bytes and the length are equal.
    @Test(arguments: [2, 9, 16, 17, 40, 1000, 20_000])
    func collidingKeysAreDistinguished(_ count: Int) throws {
        func key(_ number: Int) -> AMQPValue {
            let digits = String(number)
            return .string("prefix--" + String(repeating: "0", count: 8 - digits.count) + digits + "--suffix")
        }
        var pairs = (0..<count).map { (key: key($0), value: AMQPValue.uint(0)) }
        let bytes = try encoded(.map(AMQPMap(uniqueKeysAndValues: pairs.flatMap { [$0.key, $0.value] })))
        #expect(try decoded(bytes).mapValue?.count == count)
        pairs.append((key: key(count / 2), value: .null))
        let doubled = try encoded(.map(AMQPMap(uniqueKeysAndValues: pairs.flatMap { [$0.key, $0.value] })))
        let error = #expect(throws: AMQPError.self) { try decoded(doubled) }
        #expect(error?.detail == "a map with the same key twice at byte \(doubled.readableBytes - 27)")
    }

    @Test(arguments: [2, 16, 17, 300])
    func keysOfOtherTypesAreDistinguished(_ count: Int) throws {
        for make: (Int) -> AMQPValue in [
            { .int(Int32($0)) }, { .ulong(UInt64($0)) }, { .list([.long(Int64($0))]) },
            { .symbol(AMQPSymbol("\($0)")) },
            { .string("\($0)") }, { $0.isMultiple(of: 2) ? .string("\($0)") : .symbol(AMQPSymbol("\($0 - 1)")) },
        ] {
            var pairs = (0..<count).map { (key: make($0), value: AMQPValue.uint(0)) }
            _ = try decoded(try encoded(.map(AMQPMap(uniqueKeysAndValues: pairs.flatMap { [$0.key, $0.value] }))))
            pairs.append((key: make(1), value: .null))
            let doubled = try encoded(.map(AMQPMap(uniqueKeysAndValues: pairs.flatMap { [$0.key, $0.value] })))
            #expect(throws: AMQPError.self) { try decoded(doubled) }
        }
    }

    @Test func encodingStopsAtAnExcessiveSize() throws {
        // Lists that share their memory. Written out, they would hold two to the sixtieth nulls.
        let value = (0..<60).reduce(AMQPValue.binary(ByteBuffer(repeating: 0, count: 1 << 20))) { value, _ in
            .list([value, value])
        }
        #expect(throws: AMQPError(condition: .invalidArgument, detail: "cannot be encoded: more than 2 GiB")) {
            try encoded(value)
        }
    }
}
