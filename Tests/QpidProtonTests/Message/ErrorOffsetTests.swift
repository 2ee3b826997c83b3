// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

@Suite struct ErrorOffsetTests {
    /// Bytes that are not a value, and the text of the resulting error.
    static let values: [(bytes: String, detail: String)] = [
        ("", "the bytes end: 1 more needed at byte 0"),
        ("3f", "unknown constructor 0x3f at byte 0"),
        ("c0020157", "unknown constructor 0x57 at byte 3"),
        ("ff", "unknown constructor 0xff at byte 0"),
        ("e0030101 00", "unknown constructor 0x1 at byte 3"),
        ("e00601005301ff00", "unknown constructor 0xff at byte 6"),
        ("7000", "the bytes end: 3 more needed at byte 2"),
        ("980011", "the bytes end: 14 more needed at byte 3"),
        ("940011", "the bytes end: 14 more needed at byte 3"),
        ("a10361", "the bytes end: 2 more needed at byte 3"),
        ("b0ffffffff00", "the bytes end: 4294967294 more needed at byte 6"),
        ("b1000000", "the bytes end: 1 more needed at byte 4"),
        ("5602", "a boolean of 0x2 at byte 1"),
        ("e003015609", "a boolean of 0x9 at byte 4"),
        ("730000d800", "0xd800 is no Unicode scalar at byte 1"),
        ("7300110000", "0x110000 is no Unicode scalar at byte 1"),
        ("73ffffffff", "0xffffffff is no Unicode scalar at byte 1"),
        ("a10361c328", "a string that is not UTF-8 at byte 3"),
        ("a1056162c3a9ff", "a string that is not UTF-8 at byte 6"),
        // A truncated four-byte sequence, once and twice. Its length equals that of its replacement character.
        ("a103f09f98", "a string that is not UTF-8 at byte 2"),
        ("a106f09f98f09f98", "a string that is not UTF-8 at byte 2"),
        ("a103eda080", "a string that is not UTF-8 at byte 2"),
        ("a102c080", "a string that is not UTF-8 at byte 2"),
        ("a1096162636465666768ff", "a string that is not UTF-8 at byte 10"),
        ("a30461c3a962", "a symbol that is not ASCII at byte 3"),
        ("c00a0141", "the bytes end: 8 more needed at byte 4"),
        ("c000", "a size of 0 leaves no room for the count at byte 1"),
        ("d00000000300000000", "a size of 3 leaves no room for the count at byte 1"),
        ("c0020240", "a count of 2 elements, more than the bytes can hold at byte 2"),
        ("d0000000080000ffff40404040", "a count of 65535 elements, more than the bytes can hold at byte 5"),
        ("d000000004ffffffff", "a count of 4294967295 elements, more than the bytes can hold at byte 5"),
        (
            "f00000000dffffffff700000000100000002",
            "a count of 4294967295 elements, more than the bytes can hold at byte 5"
        ),
        ("e0040350 0102", "a count of 3 elements, more than the bytes can hold at byte 2"),
        ("c003014040", "1 bytes more than the elements need at byte 4"),
        ("c0030170000000", "the bytes end: 3 more needed at byte 5"),
        // An element may not extend beyond its list, although bytes are available.
        ("c0020270000000004040", "a count of 2 elements, more than the bytes can hold at byte 2"),
        ("c00301a1056162636465", "the bytes end: 5 more needed at byte 5"),
        ("c1020140", "a map of 1 elements, which is odd at byte 2"),
        ("d100000005 00000001 40", "a map of 1 elements, which is odd at byte 5"),
        ("c10b04a1016b5501a1016b5502", "a map with the same key twice at byte 8"),
        ("c10e04a1016b5501b1000000016b5502", "a map with the same key twice at byte 8"),
        ("c10a04 5207 41 7000000007 42", "a map with the same key twice at byte 6"),
    ]

    @Test(arguments: values.indices)
    func valueIsRefused(_ index: Int) throws {
        let (form, detail) = Self.values[index]
        let error = try #require(decodingError(form), "\(form)")
        #expect(error == AMQPError(scope: .delivery, condition: .decodeError, detail: detail), "\(form)")
    }

    /// The offset counts from the reader index.
    @Test func offsetsCountFromTheReaderIndex() throws {
        var buffer = bytes("414156024141")
        buffer.moveReaderIndex(forwardBy: 2)
        let error = #expect(throws: AMQPError.self) { try AMQPValue(decoding: &buffer) }
        #expect(error?.detail == "a boolean of 0x2 at byte 1")
        #expect(buffer.readerIndex == 2)
    }

    static let messages: [(bytes: String, detail: String)] = [
        ("41", "no section begins with 0x41 at byte 0"),
        ("00", "the bytes end: 1 more needed at byte 1"),
        ("0053", "the bytes end: 1 more needed at byte 2"),
        ("005379 40", "an unknown section at byte 1"),
        ("00536f 40", "an unknown section at byte 1"),
        ("00800000000100000070 45", "an unknown section at byte 1"),
        ("00a303613a62 40", "an unknown section at byte 1"),
        ("0041 40", "an unknown section at byte 1"),
        ("00537045 00537045", "section 0x70 occurs twice at byte 4"),
        ("00537741 00537741", "section 0x77 occurs twice at byte 4"),
        ("00537345 00537045", "section 0x70 is out of order at byte 4"),
        ("00537741 00537345", "section 0x73 is out of order at byte 4"),
        ("005378c10100 00537741", "section 0x77 is out of order at byte 6"),
        ("005375a000 00537741", "section 0x77 in a body of another kind at byte 5"),
        ("00537741 005375a000", "section 0x75 in a body of another kind at byte 4"),
        ("00537645 005375a000", "section 0x75 in a body of another kind at byte 4"),
        ("005375a000 00537645", "section 0x76 in a body of another kind at byte 5"),
        ("00537041", "another type than list at byte 3"),
        ("005373c10100", "another type than list at byte 3"),
        ("00537145", "another type than map at byte 3"),
        ("00537440", "another type than map at byte 3"),
        ("005375a10161", "another type than binary at byte 3"),
        ("005376c10100", "another type than list at byte 3"),
        ("005370c00402415204", "another type than ubyte at byte 7"),
        ("005370c0020140 00", "the bytes end: 1 more needed at byte 8"),
        ("005370c0020155", "the bytes end: 1 more needed at byte 7"),
        ("005370c003015500", "another type than boolean at byte 6"),
        ("005370c005034040 5001", "another type than uint at byte 8"),
        ("005370c00706404040404040", "6 fields, more than the section has at byte 5"),
        ("005373c00f0e4040404040404040404040404040", "14 fields, more than the section has at byte 5"),
        ("005373c0020141", "another type than ulong, uuid, binary or string at byte 6"),
        ("005373c00302 4041", "another type than binary at byte 7"),
        ("005373c0040340 4041", "another type than string at byte 8"),
        ("005373c00807404040404040 41", "another type than symbol at byte 12"),
        ("005373c00a0940404040404040 4041", "another type than timestamp at byte 14"),
        ("005373c0030140 40", "1 bytes more than the elements need at byte 7"),
        ("005374c10b04a1016b5501a1016b5502", "a map with the same key twice at byte 11"),
        ("005377a10161 ff", "no section begins with 0xff at byte 6"),
    ]

    @Test(arguments: messages.indices)
    func messageIsRefused(_ index: Int) throws {
        let (form, detail) = Self.messages[index]
        let error = try #require(messageError(form, limits: AMQPDecodingLimits(isStrict: true)), "\(form)")
        #expect(error == AMQPError(scope: .delivery, condition: .decodeError, detail: detail), "\(form)")
    }

    @Test func valuesThatCannotBeEncodedAreRefused() throws {
        func refused(_ value: AMQPValue) -> AMQPError? {
            var buffer = ByteBuffer(bytes: [9])
            defer { #expect(hex(buffer) == "09") }
            do throws(AMQPError) {
                try value.encode(into: &buffer)
                return nil
            } catch {
                return error
            }
        }
        let ascii = AMQPError(condition: .invalidArgument, detail: "cannot be encoded: a symbol that is not ASCII")
        #expect(refused(.symbol("é")) == ascii)
        #expect(refused([1, .map([.symbol("abcdefgh\u{80}"): 1])]) == ascii)
        #expect(refused(.array(AMQPArray(symbols: ["a", "ü"]))) == ascii)
        #expect(refused(.described("ß", nil)) == ascii)
        var message = AMQPMessage(body: "x")
        message.properties.contentType = "é"
        #expect(throws: ascii) { try message.encoded() }
    }
}
