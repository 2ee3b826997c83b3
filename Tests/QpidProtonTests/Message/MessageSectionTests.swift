// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

@Suite struct MessageSectionTests {
    private func roundTrip(_ form: String, _ message: AMQPMessage, written: String? = nil) throws {
        #expect(try AMQPMessage(decoding: bytes(form)) == message, "\(form)")
        #expect(hex(try message.encoded()) == written ?? form, "\(message)")
        // Encoding behind other bytes keeps those bytes.
        var buffer = ByteBuffer(bytes: [1, 2, 3])
        try message.encode(into: &buffer)
        #expect(hex(buffer) == "010203" + (written ?? form))
    }

    @Test func anEmptyMessageIsEncodedAsNoBytes() throws {
        try self.roundTrip("", AMQPMessage())
        #expect(AMQPMessage().body == .empty)
    }

    @Test func everyHeaderFieldHasItsEncoding() throws {
        func message(_ header: AMQPHeader) -> AMQPMessage {
            var message = AMQPMessage()
            message.header = header
            return message
        }
        try self.roundTrip("005370c0020141", message(AMQPHeader(durable: true)))
        try self.roundTrip("005370c00402405009", message(AMQPHeader(priority: 9)))
        try self.roundTrip("005370c00403404043", message(AMQPHeader(timeToLive: .zero)))
        try self.roundTrip("005370c0080340407000007530", message(AMQPHeader(timeToLive: .seconds(30))))
        try self.roundTrip("005370c0050440404041", message(AMQPHeader(firstAcquirer: true)))
        try self.roundTrip("005370c00705404040405203", message(AMQPHeader(deliveryCount: 3)))
        // Explicit defaults equal absent fields: the section stays, but its fields need not.
        var empty = AMQPMessage()
        empty.emptySections = .header
        try self.roundTrip("00537045", empty)
        try self.roundTrip("005370c00705425004404243", empty, written: "00537045")
        try self.roundTrip("005370d0000000050000000140", empty, written: "00537045")
        #expect(AMQPMessage() != empty)
    }

    @Test(arguments: [
        ("005371c10100", AMQPMessage.EmptySections.deliveryAnnotations), ("005372c10100", .messageAnnotations),
        ("00537345", .properties), ("005374c10100", .applicationProperties), ("005378c10100", .footer),
        ("00537045005371c10100005372c1010000537345005374c10100005378c10100", AMQPMessage.EmptySections(rawValue: 63)),
    ])
    func emptySectionsStay(_ form: String, _ sections: AMQPMessage.EmptySections) throws {
        var message = AMQPMessage()
        message.emptySections = sections
        try self.roundTrip(form, message)
    }

    @Test func theEmptyMarkOfAFilledSectionHasNoEffect() throws {
        var message = AMQPMessage(body: "x")
        message.properties.subject = "s"
        var marked = message
        marked.emptySections = .properties
        #expect(marked == message)
        #expect(try marked.encoded() == message.encoded())
    }

    @Test func everyMapSectionHasItsEncoding() throws {
        var message = AMQPMessage()
        message.deliveryAnnotations[symbol: "a"] = 1
        try self.roundTrip("005371c10602a301615501", message)
        message.messageAnnotations[symbol: "b"] = true
        try self.roundTrip("005371c10602a301615501005372c10502a3016241", message)
        message = AMQPMessage()
        message.applicationProperties["k"] = "v"
        message.footer[symbol: "f"] = .uint(0)
        try self.roundTrip("005374c10702a1016ba10176005378c10502a3016643", message)
    }

    @Test func everyPropertyHasItsEncoding() throws {
        func check(_ fields: String, _ change: (inout AMQPProperties) -> Void) throws {
            var message = AMQPMessage()
            change(&message.properties)
            try self.roundTrip("005373c0" + fields, message)
        }
        try check("020144") { $0.messageID = 0 }
        try check("03015307") { $0.messageID = 7 }
        try check("0501a1026964") { $0.messageID = "id" }
        try check("0401a00101") { $0.messageID = .binary(ByteBuffer(bytes: [1])) }
        try check("12019800112233445566778899aabbccddeeff") { $0.messageID = .uuid(sampleUUID) }
        try check("050240a00175") { $0.userID = ByteBuffer(string: "u") }
        try check("06034040a10174") { $0.to = "t" }
        try check("0704404040a10173") { $0.subject = "s" }
        try check("080540404040a10172") { $0.replyTo = "r" }
        try check("080640404040405309") { $0.correlationID = 9 }
        try check("0a07404040404040a30163") { $0.contentType = "c" }
        try check("0b0840404040404040a30165") { $0.contentEncoding = "e" }
        try check("1209404040404040404083000000000000000a") {
            $0.absoluteExpiryTime = AMQPTimestamp(millisecondsSinceEpoch: 10)
        }
        try check("130a40404040404040404083000000000000000b") {
            $0.creationTime = AMQPTimestamp(millisecondsSinceEpoch: 11)
        }
        try check("0e0b40404040404040404040a10167") { $0.groupID = "g" }
        try check("0d0c404040404040404040404043") { $0.groupSequence = 0 }
        try check("100d404040404040404040404040a10168") { $0.replyToGroupID = "h" }
    }

    @Test func longPropertiesTakeTheWideForm() throws {
        var message = AMQPMessage()
        message.properties.subject = String(repeating: "s", count: 250)
        let bytes = try message.encoded()
        #expect(hex(bytes).hasPrefix("005373d00000010300000004404040a1fa73"))
        #expect(try AMQPMessage(decoding: bytes) == message)
    }

    @Test func everyBodyHasItsEncoding() throws {
        let one = ByteBuffer(bytes: [1])
        try self.roundTrip("005375a000", AMQPMessage(body: ByteBuffer()))
        try self.roundTrip("005375a00101", AMQPMessage(body: [1]))
        try self.roundTrip("005375b00000000101", AMQPMessage(body: [1]), written: "005375a00101")
        try self.roundTrip(
            "005375a00101005375a000005375a00101",
            AMQPMessage(body: .data([one, ByteBuffer(), one]))
        )
        try self.roundTrip("00537645", AMQPMessage(body: .sequence([[]])))
        try self.roundTrip(
            "005376c00301550100537645005376c0020140",
            AMQPMessage(body: .sequence([[1], [], [nil]]))
        )
        try self.roundTrip("00537740", AMQPMessage(body: AMQPValue.null))
        try self.roundTrip("005377a1026869", AMQPMessage(body: "hi"))
        #expect(AMQPMessage(body: .data([])).body == .empty)
        #expect(AMQPMessage(body: .sequence([])).body == .empty)
    }

    @Test func everySectionTogether() throws {
        let message = try fullMessage()
        let bytes = try message.encoded()
        let copy = try AMQPMessage(decoding: bytes)
        #expect(copy == message)
        #expect(copy.footer[symbol: "crc"]?.arrayValue?.elements == [.uint(1), .uint(65536)])
        #expect(copy.header.timeToLive == .seconds(30))
        #expect(copy.properties.correlationID == .uuid(sampleUUID))
        #expect(copy.applicationProperties["r"] == .null)
    }

    @Test func symbolicDescriptorsAreRead() throws {
        func symbol(_ text: String) -> String { "00a3" + hex(ByteBuffer(bytes: [UInt8(text.utf8.count)] + text.utf8)) }
        let strict = AMQPDecodingLimits(isStrict: true)
        let form =
            symbol("amqp:header:list") + "c0020141" + symbol("amqp:delivery-annotations:map") + "c10502a3016141"
            + symbol("amqp:message-annotations:map") + "c10502a3016241" + symbol("amqp:properties:list") + "c0020143"
        #expect(
            messageError(form, limits: strict)?.detail.hasPrefix("another type than ulong, uuid, binary or string")
                == true
        )
        let valid =
            String(form.dropLast(2)) + "44" + symbol("amqp:application-properties:map") + "c10502a1016341"
            + symbol("amqp:amqp-value:*") + "41" + symbol("amqp:footer:map") + "c10502a3016441"
        let written =
            "005370c0020141005371c10502a3016141005372c10502a3016241005373c0020144"
            + "005374c10502a101634100537741005378c10502a3016441"
        #expect(hex(try AMQPMessage(decoding: bytes(valid)).encoded()) == written)
        #expect(try AMQPMessage(decoding: bytes(symbol("amqp:data:binary") + "a00101")) == AMQPMessage(body: [1]))
        #expect(
            try AMQPMessage(decoding: bytes(symbol("amqp:amqp-sequence:list") + "45"))
                == AMQPMessage(body: .sequence([[]]))
        )
        #expect(try AMQPMessage(decoding: bytes("0080000000000000007741")) == AMQPMessage(body: true))
    }

    @Test func bytesAreNotCopied() throws {
        let source = try AMQPMessage(body: ByteBuffer(repeating: 7, count: 5000)).encoded()
        let body = try #require(try AMQPMessage(decoding: source).bodyBytes)
        let isInside = source.withUnsafeReadableBytes { outer in
            body.withUnsafeReadableBytes { inner in inner.baseAddress == outer.baseAddress.map { $0 + 8 } }
        }
        #expect(isInside)
    }
}
