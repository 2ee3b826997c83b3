// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// Bytes that Qpid Proton 0.37 wrote through its Python binding. Proton writes compound values and array elements in
/// their wide forms, and also writes empty sections. This library writes fewer bytes.
@Suite struct ProtonVectorTests {
    static let values: [(bytes: String, value: AMQPValue)] = [
        ("40", nil),
        ("41", true),
        ("42", false),
        ("50c8", .ubyte(200)),
        ("60ea60", .ushort(60000)),
        ("43", .uint(0)),
        ("52ff", .uint(255)),
        ("7000000100", .uint(256)),
        ("44", .ulong(0)),
        ("53ff", .ulong(255)),
        ("80ffffffffffffffff", .ulong(.max)),
        ("5180", .byte(-128)),
        ("61fffe", .short(-2)),
        ("54ff", .int(-1)),
        ("71ffffff7f", .int(-129)),
        ("557f", 127),
        ("818000000000000000", .long(.min)),
        ("723fc00000", .float(1.5)),
        ("828000000000000000", .double(-0.0)),
        ("7412345678", .decimal32(AMQPDecimal32(bitPattern: 0x1234_5678))),
        ("84123456789abcdef0", .decimal64(AMQPDecimal64(bitPattern: 0x1234_5678_9abc_def0))),
        (
            "94000102030405060708090a0b0c0d0e0f",
            .decimal128(AMQPDecimal128(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0e0f))
        ),
        ("730001f600", .char("\u{1F600}")),
        ("830000018bcfe5687b", .timestamp(AMQPTimestamp(millisecondsSinceEpoch: 1_700_000_000_123))),
        ("9800112233445566778899aabbccddeeff", .uuid(sampleUUID)),
        ("a0030001ff", .binary(ByteBuffer(bytes: [0, 1, 255]))),
        ("a10c4772c3bcc39f6520f09f9880", "Grüße 😀"),
        ("a312616d71703a61636365707465643a6c697374", .symbol("amqp:accepted:list")),
        ("d00000000a000000035501a1016140", [1, "a", nil]),
        ("45", []),
        (
            "d10000001600000004a1016b5501a30173d0000000050000000141",
            .map(["k": 1, .symbol("s"): [true]])
        ),
        ("00532445", .described(0x24, [])),
        ("f000000011000000037100000001fffffffe0000012c", array(.int, [.int(1), .int(-2), .int(300)])),
        ("f00000001000000002b30000000161000000026263", .array(AMQPArray(symbols: ["a", "bc"]))),
        (
            "f0000000150000000200a303643a65b100000001780000000179",
            .array(
                AMQPArray(
                    uniform: [.described("d:e", "x"), .described("d:e", "y")],
                    type: .string,
                    descriptors: [.symbol("d:e")]
                )
            )
        ),
        ("f0000000050000000080", array(.ulong, [])),
        ("f00000001700000002d0000000060000000155010000000400000000", array(.list, [[1], []])),
        ("f00000000700000002560100", array(.bool, [true, false])),
        ("f000000006000000015001", array(.ubyte, [.ubyte(1)])),
        ("f00000000700000001600001", array(.ushort, [.ushort(1)])),
        ("f00000000d00000002700000000000000007", array(.uint, [.uint(0), .uint(7)])),
        ("f00000000d00000001800000000000000000", array(.ulong, [.ulong(0)])),
        ("f0000000060000000151ff", array(.byte, [.byte(-1)])),
        ("f0000000070000000161ffff", array(.short, [.short(-1)])),
        ("f00000000d00000001810000000000000001", array(.long, [1])),
        ("f000000009000000017240000000", array(.float, [.float(2)])),
        ("f00000000d00000001824000000000000000", array(.double, [2.0])),
        ("f000000009000000017300000078", array(.char, [.char("x")])),
        (
            "f00000000d00000001830000000000000005",
            array(.timestamp, [.timestamp(AMQPTimestamp(millisecondsSinceEpoch: 5))])
        ),
        ("f000000015000000019800112233445566778899aabbccddeeff", array(.uuid, [.uuid(sampleUUID)])),
        (
            "f00000000f00000002b000000002616200000000",
            array(.binary, [.binary(ByteBuffer(string: "ab")), .binary(ByteBuffer())])
        ),
        ("f00000001200000001d10000000900000002a101615501", array(.map, [["a": 1]])),
        ("f000000009000000017400000001", array(.decimal32, [.decimal32(AMQPDecimal32(bitPattern: 1))])),
        ("f00000000d00000001840000000000000001", array(.decimal64, [.decimal64(AMQPDecimal64(bitPattern: 1))])),
        (
            "f000000015000000019400000000000000000000000000000000",
            array(.decimal128, [.decimal128(AMQPDecimal128(high: 0, low: 0))])
        ),
        ("f0000000050000000240", array(.null, [nil, nil])),
    ]

    private static func array(_ type: AMQPType, _ elements: [AMQPValue]) -> AMQPValue {
        .array(AMQPArray(uniform: elements, type: type, descriptors: []))
    }

    @Test(arguments: values.indices)
    func valueIsRead(_ index: Int) throws {
        let (form, value) = Self.values[index]
        #expect(try decoded(bytes(form)) == value, "\(form)")
        let written = try encoded(value)
        #expect(written.readableBytes <= bytes(form).readableBytes)
        // Scalars have one smallest form, which Proton writes too.
        if form.utf8.first != UInt8(ascii: "d"), form.utf8.first != UInt8(ascii: "f") { #expect(hex(written) == form) }
    }

    /// Each message carries an empty header and empty properties, which must be preserved.
    @Test func messagesAreRead() throws {
        func expect(_ form: String, _ body: AMQPMessage.Body) throws {
            var message = AMQPMessage(body: body)
            message.emptySections = [.header, .properties]
            #expect(try AMQPMessage(decoding: bytes(form)) == message)
            #expect(try AMQPMessage(decoding: try message.encoded()) == message)
        }
        let sections = "0053704500537345"
        try expect(sections + "005377a10568656c6c6f", .value("hello"))
        try expect(sections + "005375a0020102", .data([ByteBuffer(bytes: [1, 2])]))
        try expect(sections + "005376d000000014000000035501a10374776f824008000000000000", .sequence([[1, "two", 3.0]]))
        try expect(sections + "005377d10000000900000002a101615501", .value(["a": 1]))
    }

    @Test func fullMessageIsRead() throws {
        let form = """
            005370c00c054150077000007530415203005371d10000000a00000002a30264695501005372d10000000b00000002a3026d61a10176\
            005373c05b0da10469642d31a00475736572a104746f2d61a103737562a1037265709800112233445566778899aabbccddeeff\
            a30a746578742f706c61696ea304677a69708300000000000007d08300000000000003e8a101675209a1027267\
            005374d10000001500000006a101705501a10171a10374776fa1017240005375a003726177
            """
        var message = try fullMessage()
        message.footer = [:]
        #expect(try AMQPMessage(decoding: bytes(form)) == message)
        #expect(try message.encoded().readableBytes == bytes(form).readableBytes - 18)
    }
}
