// SPDX-License-Identifier: Apache-2.0

import QpidProton
import QpidProtonRabbitMQ
import Testing

@Suite struct RabbitMQAddressTests {
    @Test(arguments: [
        ("orders", "/queues/orders"),
        ("a/b", "/queues/a%2Fb"),
        ("100 % of it", "/queues/100%20%25%20of%20it"),
        ("-._~", "/queues/-._~"),
        ("Zoë\u{1F600}", "/queues/Zo%C3%AB%F0%9F%98%80"),
        ("line\n\u{0}", "/queues/line%0A%00"),
        ("", "/queues/"),
    ])
    func queue(_ name: String, _ address: String) {
        #expect(RabbitMQAddress.queue(name) == address)
    }

    @Test func exchange() {
        #expect(RabbitMQAddress.exchange("amq.topic") == "/exchanges/amq.topic")
        #expect(RabbitMQAddress.exchange("a/b", key: "c.d/#") == "/exchanges/a%2Fb/c.d%2F%23")
    }

    @Test func stream() {
        let source = AMQPSource.rabbitMQStream("log/1", from: .offset(7))
        #expect(source.address == "/queues/log%2F1")
        #expect(source.filters == [.streamOffset(.offset(7))])
    }
}
