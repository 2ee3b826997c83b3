// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The `close` frame that the library writes itself.
@Suite struct CloseFrameTests {
    private func written(_ error: AMQPError, behind: [UInt8] = []) throws -> [UInt8] {
        var buffer = ByteBuffer(bytes: behind)
        try CloseFrame.write(error, into: &buffer)
        return Array(buffer.readableBytesView)
    }

    @Test func theCloseNamesTheErrorOnChannelZero() throws {
        let error = AMQPError(scope: .connection, condition: .decodeError, detail: "bad bytes")
        let bytes = try self.written(error)
        let frame = try ReadFrame(bytes)
        #expect(frame.size == bytes.count && frame.head == [2, 0, 0, 0] && frame.payload.isEmpty)
        #expect(frame.descriptor == .ulong(0x18) && frame.fields.count == 1)
        #expect(
            frame.field(0) == .described(0x1D, .list([.symbol("amqp:decode-error"), .string("bad bytes")]))
        )
    }

    @Test func theSizeIsThatOfTheFrameAlone() throws {
        let error = AMQPError(scope: .connection, condition: .connectionFramingError)
        let bytes = try self.written(error, behind: [1, 2, 3])
        #expect(bytes.prefix(3) == [1, 2, 3])
        #expect(try ReadFrame(Array(bytes.dropFirst(3))).size == bytes.count - 3)
    }

    /// Whatever the text contains, a peer can read it.
    @Test func aZeroByteDoesNotCutTheReason() throws {
        let error = AMQPError(scope: .connection, condition: AMQPCondition("a\0b"), detail: "before\0after")
        let bytes = try self.written(error)
        let frame = try ReadFrame(bytes)
        guard case .described(let reason) = frame.field(0) else { throw Unexpected(what: "\(frame.fields)") }
        let fields = try #require(reason.value.listValue)
        #expect(fields.count == 2 && "\(fields)".contains("before") && "\(fields)".contains("after"))
        let texts = [try #require(fields[0].symbolValue?.rawValue), try #require(fields[1].stringValue)]
        for text in texts { #expect(!Array(text.utf8).contains(0), "\(text.debugDescription)") }
    }
}
