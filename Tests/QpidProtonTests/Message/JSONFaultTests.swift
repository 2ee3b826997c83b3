// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Testing

/// JSON texts that cannot be written or read. The error states the place and the reason in plain words.
@Suite struct JSONFaultTests {
    private struct Order: Codable {
        struct Line: Codable { var price: Double }
        var lines: [Line]
    }

    @Test(arguments: [
        (#"{"lines":[{"price":"a"}]}"#, "the value at 'lines.0.price' is not of the type Double"),
        (#"{"lines":[{}]}"#, "the key 'price' is missing at 'lines.0'"),
        (#"{"lines":null}"#, "the value at 'lines' is null"), ("{", "the bytes are not valid JSON"),
    ])
    func bodiesThatAreNotTheType(_ body: String, _ text: String) {
        let error = #expect(throws: AMQPError.self) { try AMQPMessage(body: body).decodeJSON(Order.self) }
        #expect(error?.condition == .decodeError)
        #expect(error?.detail.hasSuffix("Order: \(text)") == true, "\(String(describing: error))")
    }

    @Test func valuesThatJSONCannotHold() {
        let order = Order(lines: [Order.Line(price: .nan)])
        let error = #expect(throws: AMQPError.self) { try AMQPMessage(json: order) }
        #expect(error?.condition == .invalidArgument)
        let text = "the body cannot be encoded as JSON: JSON has no form for the value at 'lines.0.price'"
        #expect(error?.detail == text, "\(String(describing: error))")
    }
}
