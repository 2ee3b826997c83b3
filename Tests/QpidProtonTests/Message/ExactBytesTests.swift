// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

@Suite struct ExactBytesTests {
    /// Each form of AMQP 1.0 §1.6, with the bytes that are written for its value; `nil` if the form itself is written.
    static let forms: [(bytes: String, value: AMQPValue, written: String?)] = [
        ("40", .null, nil),
        ("41", true, nil),
        ("42", false, nil),
        ("5600", false, "42"),
        ("5601", true, "41"),
        ("5000", .ubyte(0), nil),
        ("50ff", .ubyte(255), nil),
        ("600000", .ushort(0), nil),
        ("60fffe", .ushort(65534), nil),
        ("43", .uint(0), nil),
        ("5200", .uint(0), "43"),
        ("5201", .uint(1), nil),
        ("52ff", .uint(255), nil),
        ("7000000000", .uint(0), "43"),
        ("7000000007", .uint(7), "5207"),
        ("7000000100", .uint(256), nil),
        ("70ffffffff", .uint(.max), nil),
        ("44", .ulong(0), nil),
        ("5300", .ulong(0), "44"),
        ("53ff", .ulong(255), nil),
        ("800000000000000000", .ulong(0), "44"),
        ("800000000000000024", .ulong(0x24), "5324"),
        ("800000000000000100", .ulong(256), nil),
        ("80ffffffffffffffff", .ulong(.max), nil),
        ("517f", .byte(127), nil),
        ("5180", .byte(-128), nil),
        ("618000", .short(.min), nil),
        ("610001", .short(1), nil),
        ("5400", .int(0), nil),
        ("547f", .int(127), nil),
        ("5480", .int(-128), nil),
        ("7100000080", .int(128), nil),
        ("71ffffff7f", .int(-129), nil),
        ("71ffffffff", .int(-1), "54ff"),
        ("5500", .long(0), nil),
        ("557f", 127, nil),
        ("5580", -128, nil),
        ("810000000000000080", 128, nil),
        ("81ffffffffffffff7f", -129, nil),
        ("81ffffffffffffffff", -1, "55ff"),
        ("818000000000000000", .long(.min), nil),
        ("723fc00000", .float(1.5), nil),
        ("7280000000", .float(-0.0), nil),
        ("727fc00000", .float(.nan), nil),
        ("823ff8000000000000", 1.5, nil),
        ("828000000000000000", .double(-0.0), nil),
        ("7412345678", .decimal32(AMQPDecimal32(bitPattern: 0x1234_5678)), nil),
        ("84123456789abcdef0", .decimal64(AMQPDecimal64(bitPattern: 0x1234_5678_9abc_def0)), nil),
        (
            "94000102030405060708090a0b0c0d0e0f",
            .decimal128(AMQPDecimal128(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0e0f)), nil
        ),
        ("7300000078", .char("x"), nil),
        ("730001f600", .char("\u{1F600}"), nil),
        ("730010ffff", .char("\u{10FFFF}"), nil),
        ("830000018bcfe5687b", .timestamp(AMQPTimestamp(millisecondsSinceEpoch: 1_700_000_000_123)), nil),
        ("83ffffffffffffffff", .timestamp(AMQPTimestamp(millisecondsSinceEpoch: -1)), nil),
        ("9800112233445566778899aabbccddeeff", .uuid(sampleUUID), nil),
        ("a000", .binary(ByteBuffer()), nil),
        ("a0030001ff", .binary(ByteBuffer(bytes: [0, 1, 255])), nil),
        ("b0000000020102", .binary(ByteBuffer(bytes: [1, 2])), "a0020102"),
        ("a100", "", nil),
        ("a10c4772c3bcc39f6520f09f9880", "Grüße 😀", nil),
        ("b10000000161", "a", "a10161"),
        ("a3016b", .symbol("k"), nil),
        ("b3000000016b", .symbol("k"), "a3016b"),
        ("45", [], nil),
        ("c00100", [], "45"),
        ("d00000000400000000", [], "45"),
        ("c0020141", [true], nil),
        ("c003024041", [nil, true], nil),
        ("d000000006000000024041", [nil, true], "c003024041"),
        ("c10100", [:], nil),
        ("d10000000400000000", [:], "c10100"),
        ("c10602a1016b5501", ["k": 1], nil),
        ("d10000000900000002a1016b5501", ["k": 1], "c10602a1016b5501"),
        ("00532445", .described(0x24, []), nil),
        ("0080000000000000002445", .described(0x24, []), "00532445"),
        ("00a303613a6240", .described("a:b", nil), nil),
        (
            "00005301415302", .described(AMQPDescribed(descriptor: .described(1, true), value: .ulong(2))), nil
        ),
    ]

    @Test(arguments: forms.indices)
    func formIsReadAndTheSmallestIsWritten(_ index: Int) throws {
        let (form, value, written) = Self.forms[index]
        #expect(try decoded(bytes(form)) == value, "\(form)")
        #expect(hex(try encoded(value)) == written ?? form, "\(value)")
    }

    /// The same for arrays, whose elements have no constructors of their own.
    static let arrays: [(bytes: String, array: AMQPArray, written: String?)] = [
        ("e0020040", AMQPArray(emptyOf: .null), nil),
        ("e0020340", uniform(.null, [nil, nil, nil]), nil),
        ("f0000000050000000340", uniform(.null, [nil, nil, nil]), "e0020340"),
        ("e00402560100", uniform(.bool, [true, false]), nil),
        ("e0020241", uniform(.bool, [true, true]), "e00402560101"),
        ("e0020142", uniform(.bool, [false]), "e003015600"),
        ("e00402500102", uniform(.ubyte, [.ubyte(1), .ubyte(2)]), nil),
        ("e00401600102", uniform(.ushort, [.ushort(0x102)]), nil),
        ("e0020243", uniform(.uint, [.uint(0), .uint(0)]), "e00402520000"),
        ("e004025201ff", uniform(.uint, [.uint(1), .uint(255)]), nil),
        ("e00a02700000000100000100", uniform(.uint, [.uint(1), .uint(256)]), nil),
        ("e0020144", uniform(.ulong, [.ulong(0)]), "e003015300"),
        ("e0030153ff", uniform(.ulong, [.ulong(255)]), nil),
        ("e00a01800000000000000100", uniform(.ulong, [.ulong(256)]), nil),
        ("e0030151ff", uniform(.byte, [.byte(-1)]), nil),
        ("e0040161fffe", uniform(.short, [.short(-2)]), nil),
        ("e00402547f80", uniform(.int, [.int(127), .int(-128)]), nil),
        ("e006017100000080", uniform(.int, [.int(128)]), nil),
        ("e0030155ff", uniform(.long, [-1]), nil),
        ("e00a0181ffffffffffffff7f", uniform(.long, [-129]), nil),
        ("e00601723fc00000", uniform(.float, [.float(1.5)]), nil),
        ("e00a01823ff8000000000000", uniform(.double, [1.5]), nil),
        ("e006017400000001", uniform(.decimal32, [.decimal32(AMQPDecimal32(bitPattern: 1))]), nil),
        ("e00a01840000000000000001", uniform(.decimal64, [.decimal64(AMQPDecimal64(bitPattern: 1))]), nil),
        (
            "e0120194" + String(repeating: "00", count: 15) + "01",
            uniform(.decimal128, [.decimal128(AMQPDecimal128(high: 0, low: 1))]), nil
        ),
        ("e006017300000078", uniform(.char, [.char("x")]), nil),
        ("e00a01830000000000000005", uniform(.timestamp, [.timestamp(.init(millisecondsSinceEpoch: 5))]), nil),
        ("e0120198" + "00112233445566778899aabbccddeeff", uniform(.uuid, [.uuid(sampleUUID)]), nil),
        ("e00502a0000107", uniform(.binary, [.binary(ByteBuffer()), .binary(ByteBuffer(bytes: [7]))]), nil),
        ("e00602a101780179", AMQPArray(strings: ["x", "y"]), nil),
        ("e00b02b1000000017800000000", AMQPArray(strings: ["x", ""]), "e00502a1017800"),
        ("e00702a30161026263", AMQPArray(symbols: ["a", "bc"]), nil),
        ("e0020245", uniform(.list, [[], []]), "e00602c001000100"),
        ("e00802c0030155010100", uniform(.list, [[1], []]), nil),
        ("e00901c10602a1016b5501", uniform(.map, [["k": 1]]), nil),
        (
            "e00b02e0040250010203015107",
            uniform(.array, [.array(uniform(.ubyte, [.ubyte(1), .ubyte(2)])), .array(uniform(.byte, [.byte(7)]))]), nil
        ),
        (
            "e00c0200a303643a65a101780179",
            AMQPArray(
                uniform: [.described("d:e", "x"), .described("d:e", "y")],
                type: .string,
                descriptors: [.symbol("d:e")]
            ), nil
        ),
    ]

    static func uniform(_ type: AMQPType, _ elements: [AMQPValue]) -> AMQPArray {
        AMQPArray(uniform: elements, type: type, descriptors: [])
    }

    @Test(arguments: arrays.indices)
    func arrayFormIsReadAndTheSmallestIsWritten(_ index: Int) throws {
        let (form, array, written) = Self.arrays[index]
        #expect(try decoded(bytes(form)) == .array(array), "\(form)")
        #expect(hex(try encoded(.array(array))) == written ?? form, "\(array)")
    }

    /// The narrow form holds 255 bytes and 255 elements. One more requires the wide form.
    @Test func formsChangeAtTheirBounds() throws {
        func prefix(_ value: AMQPValue) throws -> String {
            let bytes = try encoded(value)
            #expect(try decoded(bytes) == value)
            return String(hex(bytes).prefix(18))
        }
        func nulls(_ count: Int) -> [AMQPValue] { Array(repeating: .null, count: count) }
        let text = String(repeating: "x", count: 255)

        #expect(try prefix(.string(text)).hasPrefix("a1ff78"))
        #expect(try prefix(.string(text + "x")).hasPrefix("b10000010078"))
        #expect(try prefix(.symbol(AMQPSymbol(text))).hasPrefix("a3ff78"))
        #expect(try prefix(.symbol(AMQPSymbol(text + "x"))).hasPrefix("b30000010078"))
        #expect(try prefix(.binary(ByteBuffer(string: text))).hasPrefix("a0ff78"))
        #expect(try prefix(.binary(ByteBuffer(string: text + "x"))).hasPrefix("b00000010078"))
        // The size of 255 includes the byte of the count.
        #expect(try prefix(.list(nulls(254))).hasPrefix("c0fffe40"))
        #expect(try prefix(.list(nulls(255))) == "d000000103000000ff")
        #expect(try prefix(.list([.string(String(text.dropLast(3)))])).hasPrefix("c0ff01a1fc"))
        #expect(try prefix(.list([.string(String(text.dropLast(2)))])).hasPrefix("d00000010300000001"))
        #expect(try prefix(.map(["": .string(String(text.dropLast(5)))])).hasPrefix("c1ff02a100a1fa"))
        #expect(try prefix(.map(["": .string(String(text.dropLast(4)))])).hasPrefix("d10000010300000002"))
        // Elements of zero width: here the count decides.
        #expect(try prefix(.array(Self.uniform(.null, nulls(255)))) == "e002ff40")
        #expect(try prefix(.array(Self.uniform(.null, nulls(256)))) == "f00000000500000100")
        // A list of many small elements and a list of few large elements are both encoded in the right form.
        #expect(try prefix(.list(nulls(40))).hasPrefix("c02928"))
        #expect(try prefix(.list([.string(text), .string(text)])).hasPrefix("d00000020600000002"))
        // One element above the bound makes all elements of an array wide.
        let mixed = Self.uniform(.list, [.list(nulls(1)), .list(nulls(255))])
        #expect(try hex(encoded(.array(mixed))).hasPrefix("f00000011500000002d0000000050000000140"))
        let strings = AMQPArray(strings: ["", text + "x"])
        #expect(try hex(encoded(.array(strings))).hasPrefix("f00000010d00000002b10000000000000100"))
    }
}
