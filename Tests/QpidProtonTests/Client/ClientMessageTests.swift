// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The bytes of a message that is sent again: its time to live, its replay annotation, and the unchanged rest.
struct ClientMessageTests {
    private func sample() -> AMQPMessage {
        var message = AMQPMessage(body: "body")
        message.header = AMQPHeader(durable: true, priority: 9, timeToLive: .seconds(10), deliveryCount: 3)
        message.deliveryAnnotations["x-opt-a"] = "delivery"
        message.messageAnnotations["x-opt-b"] = 5
        message.properties.messageID = "id"
        message.applicationProperties["key"] = true
        message.footer["x-opt-sum"] = 7
        return message
    }

    private func message(_ message: AMQPMessage, _ options: AMQPSendOptions = .init()) throws -> ClientMessage {
        ClientMessage(try message.encoded(), options, isSettled: false, at: .seconds(100))
    }

    @Test func theFirstAttemptIsTheMessageItself() throws {
        let client = try self.message(self.sample())
        #expect(client.bytes(at: .seconds(100), attempt: 1, marksReplays: true) == client.encoded)
        #expect(client.timeToLive == .seconds(10) && client.deadline == .seconds(110))
    }

    @Test func aLaterAttemptCarriesTheRemainingTimeToLive() throws {
        let client = try self.message(self.sample())
        let bytes = client.bytes(at: .seconds(104), attempt: 2, marksReplays: true)
        var expected = self.sample()
        expected.header.timeToLive = .seconds(6)
        expected.messageAnnotations[symbol: "x-opt-replayed"] = true
        let again = try AMQPMessage(decoding: bytes)
        #expect(again.header == expected.header && again.deliveryAnnotations == expected.deliveryAnnotations)
        #expect(again.messageAnnotations == expected.messageAnnotations && again.footer == expected.footer)
        // The bare message is unchanged, byte for byte.
        var bare = self.sample()
        (bare.header, bare.deliveryAnnotations, bare.messageAnnotations) = (AMQPHeader(), [:], [:])
        let tail = Array(try bare.encoded().readableBytesView)
        #expect(Array(bytes.readableBytesView.suffix(tail.count)) == tail)
    }

    @Test func aReplayAnnotationNeedsNoOtherSection() throws {
        let client = try self.message(AMQPMessage(body: "m"))
        #expect(client.deadline == nil)
        #expect(client.bytes(at: .seconds(900), attempt: 2, marksReplays: false) == client.encoded)
        let again = try AMQPMessage(decoding: client.bytes(at: .seconds(900), attempt: 2, marksReplays: true))
        #expect(again.messageAnnotations[symbol: "x-opt-replayed"] == true && again.bodyString == "m")
    }

    @Test func aKnownHeaderIsNotReadFromTheBytes() throws {
        let sample = self.sample()
        let encoded = try sample.encoded()
        let known = ClientMessage(encoded, .init(), isSettled: false, header: sample.header, at: .seconds(1))
        let read = ClientMessage(encoded, .init(), isSettled: false, at: .seconds(1))
        #expect(known.timeToLive == .seconds(10) && known.deadline == read.deadline)
        var times = 0
        func now() -> Duration {
            times += 1
            return .zero
        }
        let plain = try AMQPMessage(body: "m").encoded()
        #expect(ClientMessage(plain, .init(), isSettled: true, header: AMQPHeader(), at: now()).deadline == nil)
        #expect(times == 0, "a message without a limit reads no time")
    }

    @Test func theEarlierLimitCounts() throws {
        let short = try self.message(self.sample(), .init(expiresAfter: .seconds(2)))
        #expect(short.deadline == .seconds(102) && short.options(at: .seconds(101)).expiresAfter == .seconds(1))
        let long = try self.message(self.sample(), .init(expiresAfter: .seconds(60)))
        #expect(long.deadline == .seconds(110) && long.options(at: .seconds(120)).expiresAfter == .nanoseconds(1))
    }

    @Test(
        arguments: [
            [], [0x00], [0x00, 0x53], [0x00, 0x53, 0x70], [0x00, 0x53, 0x70, 0xc0],
            [0x00, 0x53, 0x70, 0xc0, 0xff, 0x05],
            [0x00, 0x53, 0x70, 0x45], [0x00, 0x53, 0x70, 0x40], [0x00, 0x53, 0x72, 0x45],
            [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x70, 0xd0, 0, 0], Array("any other format".utf8),
        ] as [[UInt8]]
    )
    func bytesThatAreNoMessageLeaveAsTheyAre(_ bytes: [UInt8]) {
        let buffer = ByteBuffer(bytes: bytes)
        let client = ClientMessage(buffer, .init(messageFormat: 7), isSettled: false, at: .zero)
        #expect(client.timeToLive == nil && client.deadline == nil)
        #expect(client.bytes(at: .seconds(5), attempt: 2, marksReplays: false) == buffer)
    }
}
