// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

struct ConsumerEnvelopeTests {
    private func envelope(_ message: AMQPMessage) throws -> ConsumerEnvelope {
        ConsumerEnvelope(try message.encoded())
    }

    @Test func readsTheSectionsBeforeTheBody() throws {
        var message = AMQPMessage(body: "m")
        message.header.deliveryCount = 3
        message.header.firstAcquirer = true
        message.properties.groupID = "g"
        message.messageAnnotations[symbol: "x-stream-offset"] = .ulong(42)
        let envelope = try self.envelope(message)
        #expect(envelope.failures == 3 && envelope.isFirst)
        #expect(envelope.groupID == "g" && envelope.streamOffset == 42)
    }

    @Test func aPlainMessageHasAnEmptyEnvelope() throws {
        let envelope = try self.envelope(AMQPMessage(body: "m"))
        #expect(envelope.failures == 0 && !envelope.isFirst)
        #expect(envelope.groupID == nil && envelope.streamOffset == nil)
    }

    @Test func aMessageIsIdentifiedByItsIDOrItsContents() throws {
        func identity(_ id: AMQPMessageID?, _ body: String, count: UInt32 = 0) throws -> Int {
            var message = AMQPMessage(body: body)
            message.properties.messageID = id
            message.header.deliveryCount = count
            return try self.envelope(message).identity
        }
        #expect(try identity("1", "a") == identity("1", "b", count: 2))
        #expect(try identity("1", "a") != identity("2", "a"))
        #expect(try identity(nil, "a") == identity(nil, "a", count: 2))
        #expect(try identity(nil, "a") != identity(nil, "b"))
    }

    @Test func bytesThatAreNoMessageAreReadAsFarAsPossible() throws {
        var message = AMQPMessage(body: "m")
        message.header.deliveryCount = 3
        message.properties.groupID = "g"
        let whole = try message.encoded()
        for length in 0..<whole.readableBytes {
            var cut = whole
            cut.moveWriterIndex(to: cut.readerIndex + length)
            let envelope = ConsumerEnvelope(cut)
            #expect(envelope.failures == 3 || envelope.failures == 0)
        }
        var random = SeededGenerator(seed: 1)
        for _ in 0..<2_000 {
            var bytes = Array(buffer: whole)
            for _ in 0..<3 { bytes[random.number(0...bytes.count - 1)] = UInt8(random.number(0...255)) }
            _ = ConsumerEnvelope(ByteBuffer(bytes: bytes)).identity
        }
    }
}
