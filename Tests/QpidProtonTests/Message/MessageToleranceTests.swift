// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Messages that break a rule of AMQP 1.0 §3.2 but have an unambiguous meaning.
@Suite struct MessageToleranceTests {
    private static let strict = AMQPDecodingLimits(isStrict: true)

    /// Decodes a form that strict decoding refuses, and encodes it in the standard form.
    private func tolerate(_ form: String, as message: AMQPMessage, written: String) throws {
        #expect(messageError(form, limits: Self.strict) != nil, "\(form) keeps all rules")
        let decoded = try AMQPMessage(decoding: bytes(form))
        #expect(decoded == message, "\(form)")
        #expect(hex(try decoded.encoded()) == written, "\(form)")
        #expect(try AMQPMessage(decoding: bytes(written), limits: .default) == message)
        #expect(try decoded.encoded().readableBytes <= decoded.encodedSizeHint)
    }

    @Test func nullIsAnEmptyDataSection() throws {
        try self.tolerate("00537540", as: AMQPMessage(body: ByteBuffer()), written: "005375a000")
        #expect(try AMQPMessage(decoding: bytes("00537540")).bodyBytes?.readableBytes == 0)
        let body = AMQPMessage.Body.data([ByteBuffer(bytes: [1]), ByteBuffer(), ByteBuffer(bytes: [2])])
        let form = "005375a00101 00537540 005375a00102"
        try self.tolerate(form, as: AMQPMessage(body: body), written: "005375a00101005375a000005375a00102")
    }

    @Test(arguments: [
        ("70", AMQPMessage.EmptySections.header, "45"), ("71", .deliveryAnnotations, "c10100"),
        ("72", .messageAnnotations, "c10100"), ("73", .properties, "45"), ("74", .applicationProperties, "c10100"),
        ("78", .footer, "c10100"),
    ])
    func nullIsAnEmptySection(_ section: String, _ flag: AMQPMessage.EmptySections, _ value: String) throws {
        var message = AMQPMessage()
        message.emptySections = flag
        try self.tolerate("0053\(section)40", as: message, written: "0053\(section)\(value)")
    }

    @Test func nullIsAnEmptySequence() throws {
        try self.tolerate("00537640", as: AMQPMessage(body: .sequence([[]])), written: "00537645")
    }

    @Test func sectionsMayComeInAnyOrder() throws {
        let message = try fullMessage()
        let standard = hex(try message.encoded())
        let sections = try Self.sections(of: bytes(standard))
        #expect(sections.count > 5)
        let seed = SeededGenerator.seed()
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var order = Array(sections.enumerated())
            order.shuffle(using: &generator)
            let form = order.map(\.element).joined()
            #expect(try AMQPMessage(decoding: bytes(form)) == message, "seed \(seed): \(form)")
        }
        try self.tolerate(
            sections.reversed().joined(),
            as: message,
            written: standard
        )
    }

    /// A client writes the body before the properties.
    @Test func propertiesMayFollowTheBody() throws {
        var message = AMQPMessage(body: [1])
        message.properties.messageID = 7
        try self.tolerate("005375a00101 005373c003015307", as: message, written: "005373c003015307005375a00101")
    }

    @Test(arguments: [
        ("005373c003015307 005375a00101 005373c003015308", "section 0x73 occurs twice at byte 14"),
        ("00537741 00537341 00537741", "another type than list at byte 7"),
        ("00537741 00537345 00537741", "section 0x77 occurs twice at byte 8"),
        ("005375a000 00537345 00537645", "section 0x76 in a body of another kind at byte 9"),
        ("005378c10100 005375a000 00537741", "section 0x77 in a body of another kind at byte 11"),
    ])
    func ambiguousSectionsStayErrors(_ form: String, _ detail: String) throws {
        #expect(messageError(form) == AMQPError(scope: .delivery, condition: .decodeError, detail: detail))
    }

    @Test func oneMistypedPropertyLeavesTheOthers() throws {
        // The message-id is 7, and the content-type is a string.
        let form = "005373c00e 07 5307 40 40 40 40 40 a10474657874 005375a00101"
        let decoded = try AMQPMessage(decoding: bytes(form))
        #expect(decoded.properties.messageID == 7)
        #expect(decoded.properties.contentType == nil)
        #expect(decoded.mistypedFields == ["content-type": "text"])
        #expect(decoded.bodyBytes == ByteBuffer(bytes: [1]))
        #expect(hex(try decoded.encoded()) == form.replacing(" ", with: ""))
        #expect(messageError(form, limits: Self.strict)?.detail == "another type than symbol at byte 13")
        // A value of the right type replaces the mistyped one.
        var changed = decoded
        changed.properties.contentType = "text/plain"
        let again = try AMQPMessage(decoding: changed.encoded())
        #expect(again.properties.contentType == "text/plain" && again.mistypedFields.isEmpty)
    }

    @Test(arguments: FieldNames.properties.indices)
    func everyPropertyMayBeMistyped(_ field: Int) throws {
        // No property has the type list.
        var fields = [AMQPValue](repeating: .null, count: 13)
        fields[2] = "to"
        fields[3] = "subject"
        fields[field] = .list([1, "x"])
        var buffer = ByteBuffer()
        try AMQPValue.described(0x73, .list(fields)).encode(into: &buffer)
        let message = try AMQPMessage(decoding: buffer)
        #expect(message.mistypedFields == [FieldNames.properties[field]: .list([1, "x"])])
        #expect(message.properties.to == (field == 2 ? nil : "to"))
        #expect(message.properties.subject == (field == 3 ? nil : "subject"))
        #expect(try AMQPMessage(decoding: message.encoded()) == message)
        #expect(throws: AMQPError.self) { try AMQPMessage(decoding: buffer, limits: Self.strict) }
    }

    @Test(arguments: FieldNames.header.indices)
    func everyHeaderFieldMayBeMistyped(_ field: Int) throws {
        var fields: [AMQPValue] = [true, .ubyte(9), .uint(1_000), true, .uint(3)]
        fields[field] = "odd"
        var buffer = ByteBuffer()
        try AMQPValue.described(0x70, .list(fields)).encode(into: &buffer)
        let message = try AMQPMessage(decoding: buffer)
        var header = AMQPHeader(
            durable: true,
            priority: 9,
            timeToLive: .seconds(1),
            firstAcquirer: true,
            deliveryCount: 3
        )
        switch field {
        case 0: header.durable = false
        case 1: header.priority = 4
        case 2: header.timeToLive = nil
        case 3: header.firstAcquirer = false
        default: header.deliveryCount = 0
        }
        #expect(message.header == header)
        #expect(message.mistypedFields == [FieldNames.header[field]: "odd"])
        #expect(try AMQPMessage(decoding: message.encoded()) == message)
        #expect(throws: AMQPError.self) { try AMQPMessage(decoding: buffer, limits: Self.strict) }
    }

    @Test func namesOfNoFieldAreNotWritten() throws {
        var message = AMQPMessage(body: [1])
        message.mistypedFields["no-such-field"] = 1
        #expect(hex(try message.encoded()) == "005375a00101")
        message.emptySections = .properties
        #expect(hex(try message.encoded()) == "00537345005375a00101")
    }

    @Test func aStreamedBodyMayHoldNull() throws {
        var splitter = BodySplitter()
        splitter.append(bytes("00537540 005375a00107"))
        #expect(try splitter.next() == ByteBuffer(bytes: [7]))
        #expect(try splitter.next() == nil)
        try splitter.finish()
        #expect(try SectionFront.bodyStart(bytes("00537040 00537540")) == 4)
    }

    /// A symbolic descriptor may have a four-byte length, both in a stream and in a complete message.
    @Test func aStreamedSectionMayBeNamedByASymbolOfEitherForm() throws {
        let name = hex(ByteBuffer(string: "amqp:data:binary"))
        for descriptor in ["a310" + name, "b300000010" + name] {
            let message = bytes("00537045 00" + descriptor + "a00107")
            #expect(try AMQPMessage(decoding: message).bodyBytes == ByteBuffer(bytes: [7]))
            #expect(try SectionFront.bodyStart(message) == 4)
            var splitter = BodySplitter()
            splitter.append(message)
            #expect(try splitter.next() == ByteBuffer(bytes: [7]))
            try splitter.finish()
        }
        // No section name is that long, so none of it is buffered.
        #expect(throws: AMQPError.self) { try SectionFront.read(bytes("00b380000000")) }
    }

    /// Returns the sections of a message in its standard form, as hexadecimal digits.
    private static func sections(of message: ByteBuffer) throws -> [String] {
        var rest = message
        var sections: [String] = []
        while rest.readableBytes > 0 {
            let before = rest
            _ = try AMQPValue(decoding: &rest)
            let section = before.getSlice(
                at: before.readerIndex,
                length: before.readableBytes - rest.readableBytes
            )
            sections.append(hex(try #require(section)))
        }
        return sections
    }
}
