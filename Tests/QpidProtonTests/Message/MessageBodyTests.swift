// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

@Suite struct MessageBodyTests {
    private struct Order: Codable, Equatable {
        var id: Int
        var name: String
    }

    @Test func jsonSurvives() throws {
        let order = Order(id: 7, name: "Grüße")
        let message = try AMQPMessage(json: order)
        #expect(message.properties.contentType == "application/json")
        let copy = try AMQPMessage(decoding: try message.encoded())
        #expect(try copy.decodeJSON(Order.self) == order)
        let fromText: Order = try AMQPMessage(body: #"{"id":7,"name":"Grüße"}"#).decodeJSON()
        #expect(fromText == order)
        let error = #expect(throws: AMQPError.self) { try AMQPMessage(body: "{}").decodeJSON(Order.self) }
        #expect(error?.condition == .decodeError)
        #expect(throws: AMQPError.self) { try AMQPMessage(body: 5 as AMQPValue).decodeJSON(Order.self) }
        #expect(throws: AMQPError.self) { try AMQPMessage(json: Double.nan) }
    }

    @Test func bodyAsText() {
        #expect(AMQPMessage(body: "hé").bodyString == "hé")
        #expect(AMQPMessage(body: [0x68, 0xc3, 0xa9]).bodyString == "hé")
        #expect(AMQPMessage(body: [0x68, 0xc3]).bodyString == nil)
        // The end of a section may split a character.
        let halves = [ByteBuffer(bytes: [0x68, 0xc3]), ByteBuffer(bytes: [0xa9])]
        #expect(AMQPMessage(body: .data(halves)).bodyString == "hé")
        #expect(AMQPMessage(body: .binary(ByteBuffer(string: "b"))).bodyString == "b")
        #expect(AMQPMessage(body: 1 as AMQPValue).bodyString == nil && AMQPMessage().bodyString == nil)
    }

    @Test func bodyAsBytes() {
        let halves = [ByteBuffer(bytes: [1, 2]), ByteBuffer(), ByteBuffer(bytes: [3])]
        #expect(AMQPMessage(body: .data(halves)).bodyBytes == ByteBuffer(bytes: [1, 2, 3]))
        #expect(AMQPMessage(body: [1]).bodyBytes == ByteBuffer(bytes: [1]))
        #expect(AMQPMessage(body: .binary(ByteBuffer(bytes: [4]))).bodyBytes == ByteBuffer(bytes: [4]))
        #expect(AMQPMessage(body: "x").bodyBytes == nil && AMQPMessage().bodyBytes == nil)
    }

    @Test func copiesAreApart() {
        var message = AMQPMessage(body: "x")
        message.properties.subject = "one"
        message.footer["f"] = 1
        var copy = message
        copy.properties.subject = "two"
        copy.footer["f"] = 2
        copy.applicationProperties["a"] = 1
        copy.body = .empty
        #expect(message.properties.subject == "one" && message.footer["f"] == 1)
        #expect(message.applicationProperties.isEmpty && message.bodyString == "x")
        #expect(copy.properties.subject == "two" && copy.footer["f"] == 2)
        copy = message
        #expect(copy == message)
    }

    @Test func descriptionsShowNoBytes() throws {
        let text = try fullMessage().description
        #expect(text.contains("data: 3 bytes") && text.contains("userID: 4 bytes"))
        #expect(!text.contains("raw") && !text.contains("user,"))
        #expect(
            AMQPMessage(body: .data([ByteBuffer(bytes: [1]), ByteBuffer()])).description
                == "AMQPMessage(data: 1 + 0 bytes)"
        )
        #expect(AMQPValue.binary(ByteBuffer(repeating: 0xab, count: 33)).description.hasSuffix("ab… (33 bytes)"))
    }
}
