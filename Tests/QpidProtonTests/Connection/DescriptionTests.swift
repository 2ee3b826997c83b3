// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Testing

@testable import QpidProton

/// The descriptions of the types that live on an event loop.
@Suite(.deadline)
struct DescriptionTests {
    private func expect(_ value: some AMQPReference, _ text: String, sourceLocation: SourceLocation = #_sourceLocation)
    {
        var dumped = ""
        dump(value, to: &dumped)
        #expect("\(value)" == text, sourceLocation: sourceLocation)
        #expect(
            dumped.hasPrefix("- \(text)") && dumped.split(separator: "\n").count == 1,
            sourceLocation: sourceLocation
        )
        #expect(Mirror(reflecting: value).children.isEmpty, sourceLocation: sourceLocation)
    }

    @Test func eachReferenceReadsAsAPersonWouldWriteIt() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            self.expect(session.connection, "connection to \"peer\"")
            self.expect(session, "session with \"peer\"")
            var configuration = AMQPSender.Configuration(target: "orders")
            configuration.name = "s"
            let sender = try await session.openSender(configuration)
            self.expect(sender, "sender s to \"orders\", credit 100")
            let tracker = try sender.trySend(AMQPMessage(body: "x"))
            self.expect(tracker, "not settled yet")
            try await peer.run { $0.settleAll(PN_ACCEPTED) }
            self.expect(tracker, "accepted")
            var receiving = AMQPReceiver.Configuration(source: "jobs", window: .messages(5))
            receiving.name = "r"
            let receiver = try await session.openReceiver(receiving)
            self.expect(receiver, "receiver r from \"jobs\", credit 5")
            try await peer.run { _ = $0.send(payload(7), on: $0.links[1]) }
            let delivery = try #require(try await receiver.next())
            #expect("\(delivery)".hasPrefix("delivery 0x") && "\(delivery)".hasSuffix(", 7 bytes"))
            await receiver.detach()
            self.expect(receiver, "receiver r from \"jobs\", credit 0, ended: this side detached the link r")
            #expect(sender == sender && Set([sender, sender]).count == 1)
        }
    }

    @Test func thePeerReadsAsItsNameAndProduct() throws {
        var peer = AMQPPeer(
            containerID: "rabbit@host",
            hostname: nil,
            maxFrameSize: nil,
            channelMax: 0,
            idleTimeout: nil,
            offeredCapabilities: [],
            desiredCapabilities: [],
            properties: [:]
        )
        #expect("\(peer)" == "peer rabbit@host")
        peer.properties[symbol: "product"] = "RabbitMQ"
        peer.properties[symbol: "version"] = "4.0.5"
        #expect("\(peer)" == "peer rabbit@host (RabbitMQ 4.0.5)")
    }

    @Test func valuesReadAsAPersonWouldWriteThem() {
        #expect("\(AMQPSendOptions())" == "no options")
        let options = AMQPSendOptions(deliveryTag: [1, 0xAB], messageFormat: 16, expiresAfter: .seconds(2))
        #expect("\(options)" == "delivery-tag 0x01ab, message-format 0x10, expires after 2.0 seconds")
        #expect("\(AMQPModified())" == "no changes")
        #expect("\(AMQPOutcome.modified(AMQPModified(deliveryFailed: true)))" == "modified: delivery failed")
        #expect("\(AMQPTarget(address: "q"))" == "\"q\"" && "\(AMQPSource.dynamic)" == "a dynamic node")
        #expect("\(AMQPSource(address: "q", filters: [.selector("a = 1")]))".hasPrefix("\"q\", filters "))
    }

    @Test func aBudgetAndAConfiguration() {
        self.expect(AMQPMemoryBudget(limit: .mebibytes(2)), "0 B of 2 MiB")
        var dumped = ""
        dump(AMQPConnection.Configuration(), to: &dumped)
        #expect(dumped.contains("operationTimeout") && dumped.contains("stallWarning"))
        #expect(!dumped.contains("SelectableEventLoop"))
    }
}
