// SPDX-License-Identifier: Apache-2.0

import QpidProton
import TestSupport
import Testing

/// Fields that Proton 0.37 does not write itself, as Proton reads them. Its trace shows each frame that it decodes.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct InteropFieldsTests {
    @Test func tagsFormatsAndCapabilitiesReachProton() async throws {
        let (process, port) = try await ForeignPeer.python.listen(
            ["--count", "3"],
            environment: ProtonTrace.environment
        )
        let connection = try await AMQPConnection.connect(to: "amqp://localhost:\(port)")
        var configuration = AMQPSender.Configuration(target: "queue")
        configuration.offeredCapabilities = ["test:offered"]
        configuration.desiredCapabilities = ["test:desired", "test:other"]
        let sender = try await connection.openSession().openSender(configuration)
        let large = AMQPMessage(body: String(repeating: "x", count: 200_000))
        let options = AMQPSendOptions(deliveryTag: Array("order-1".utf8), messageFormat: 0x1234_5678)
        let outcomes = try await within("the outcomes") {
            [
                try await sender.send(AMQPMessage(body: "a"), options: .init(deliveryTag: Array("order-0".utf8))),
                try await sender.send(large, options: options),
                // The peer closes the connection with the last message's outcome.
                try await sender.send(AMQPMessage(body: "b")),
            ]
        }
        #expect(outcomes == [.accepted, .accepted, .accepted])
        try await connection.close().check()
        try await process.waitForSuccess()
        let frames = process.errors.split(separator: "\n").filter { $0.contains("<- @") }
        let attach = try #require(frames.first { $0.contains("@attach") })
        let offered = try #require(attach.firstRange(of: "offered-capabilities="))
        let desired = try #require(attach.firstRange(of: "desired-capabilities="))
        #expect(attach[offered.upperBound..<desired.lowerBound].contains("test:offered"), "\(attach)")
        #expect(attach[desired.upperBound...].contains("test:desired"), "\(attach)")
        #expect(attach[desired.upperBound...].contains("test:other"), "\(attach)")
        let transfers = frames.filter { $0.contains("@transfer") }
        #expect(transfers.first?.contains("order-0") == true && transfers.last?.contains("order") == false)
        let formatted = transfers.filter { $0.contains("order-1") }
        #expect(formatted.count > 1 && formatted.count == transfers.count - 2)
        // The format is 0x12345678, which Proton prints in decimal or hexadecimal digits.
        #expect(formatted.allSatisfy { $0.contains("=305419896") || $0.contains("=0x12345678") }, "\(formatted)")
        #expect(!transfers[0].contains("=305419896") && !transfers[0].contains("=0x12345678"))
    }
}
