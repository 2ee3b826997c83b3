// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The edits of the peer's frames before Proton reads them, and the frames that stay unchanged.
@Suite struct IncomingEditsTests {
    private func edit(_ frame: Frame, limit: Int = .max) throws -> [UInt8]? {
        try self.edit(Array(frame.encoded().readableBytesView), limit: limit)
    }

    private func edit(_ bytes: [UInt8], limit: Int = .max) throws -> [UInt8]? {
        try bytes.withUnsafeBytes { try IncomingEdits.edit($0, limit: limit) }
    }

    private func named(_ name: String, _ fields: [AMQPValue] = []) -> AMQPValue {
        .described(AMQPDescribed(descriptor: .symbol(AMQPSymbol(name)), value: .list(fields)))
    }

    private func frame(_ performative: AMQPValue) throws -> [UInt8] {
        let body = try performative.bytes
        return EncodedComposite.bigEndian(UInt32(8 + body.count)) + [2, 0, 0, 1] + body
    }

    @Test func framesThatProtonReadsCorrectlyStayUnchanged() throws {
        let frames: [Frame] = [
            .open(), .begin(), .attach(.string("l"), handle: 0, isReceiver: true), .flow(),
            .transfer(handle: 0, id: 0, payload: payload(10)), .disposition(0),
            .disposition(0, state: .described(0x26, .list([]))), .disposition(0, state: .null), .detach(0),
            Frame(.end, []), Frame(.close, []),
        ]
        for frame in frames { #expect(try self.edit(frame) == nil, "\(frame)") }
        #expect(try self.edit([0, 0, 0, 8, 2, 0, 0, 0]) == nil)
    }

    @Test(
        arguments: [
            ("open", 0x10), ("begin", 0x11), ("attach", 0x12), ("flow", 0x13), ("transfer", 0x14),
            ("disposition", 0x15),
            ("detach", 0x16), ("end", 0x17), ("close", 0x18),
        ] as [(String, UInt64)]
    )
    func aPerformativeThatIsNamedGetsItsNumber(name: String, code: UInt64) throws {
        let edited = try #require(try self.edit(try self.frame(self.named("amqp:\(name):list", [.uint(7)]))))
        let frame = try ReadFrame(edited)
        #expect(frame.descriptor == .ulong(code) && frame.fields == [.uint(7)] && frame.size == edited.count)
        #expect(frame.head == [2, 0, 0, 1])
    }

    @Test func anUnknownNameStays() throws {
        #expect(try self.edit(try self.frame(self.named("amqp:unknown:list"))) == nil)
    }

    @Test(
        arguments: [
            ("amqp:accepted:list", 0x24), ("amqp:rejected:list", 0x25), ("amqp:released:list", 0x26),
            ("amqp:modified:list", 0x27), ("amqp:received:list", 0x23), ("amqp:declared:list", 0x33),
            ("amqp:transactional-state:list", 0x34), ("vendor:state", 0xFF),
        ] as [(String, UInt64)]
    )
    func aStateThatIsNamedGetsItsNumber(name: String, code: UInt64) throws {
        let edited = try #require(try self.edit(.disposition(3, state: self.named(name))))
        #expect(try ReadFrame(edited).field(4) == .described(code, .list([])))
    }

    @Test func theDescriptorOfAnOutcomeInATransactionBecomesNumeric() throws {
        let state: AMQPValue = .described(
            0x34,
            .list([.binary(ByteBuffer(bytes: [1])), self.named("amqp:released:list")])
        )
        let edited = try #require(try self.edit(.disposition(3, state: state)))
        #expect(
            try ReadFrame(edited).field(4)
                == .described(0x34, .list([.binary(ByteBuffer(bytes: [1])), .described(0x26, .list([]))]))
        )
    }

    @Test(arguments: [Frame.Code.detach, .end, .close])
    func zeroBytesOfAReasonAreReplaced(code: Frame.Code) throws {
        let before: [AMQPValue] = code == .detach ? [.uint(1), .bool(true)] : []
        func error(_ text: String) -> AMQPValue { .described(0x1D, .list([.symbol("a:b"), .string(text)])) }
        let edited = try #require(try self.edit(Frame(code, before + [error("x\0y")])))
        #expect(try ReadFrame(edited).fields == before + [error("x\u{FFFD}y")])
        #expect(try self.edit(Frame(code, before + [error("xy")])) == nil)
    }

    @Test func aFrameThatOutgrowsItsLimitIsAnError() throws {
        let error: AMQPValue = .described(0x1D, .list([.symbol("a:b"), .string("x\0y")]))
        let frame = Frame(.close, [error])
        let size = try frame.encoded().readableBytes
        #expect(try self.edit(frame, limit: size + 2)?.count == size + 2)
        let thrown = #expect(throws: AMQPError.self) { try self.edit(frame, limit: size + 1) }
        #expect(thrown?.condition == .decodeError && thrown?.scope == .connection)
    }

    @Test func aFormatTravelsInTheTag() throws {
        func mark(_ tag: [UInt8], limit: Int = .max) throws -> [UInt8]? {
            let frame = Frame(.transfer, [.uint(1), .uint(2), .binary(ByteBuffer(bytes: tag)), .uint(0x0102_0304)])
            return try Array(frame.encoded().readableBytesView).withUnsafeBytes {
                IncomingEdits.mark($0, format: 0x0102_0304, limit: limit)
            }
        }
        let marked = try #require(try mark([5, 6]))
        let frame = try ReadFrame(marked)
        #expect(frame.field(2) == .binary(ByteBuffer(bytes: MarkedTag.bytes([5, 6], format: 0x0102_0304))))
        #expect(frame.field(3) == .uint(0) && frame.size == marked.count)
        #expect(try mark(Array(repeating: 1, count: 32)) != nil && mark(Array(repeating: 1, count: 33)) == nil)
        #expect(try mark([5, 6], limit: marked.count - 1) == nil)
    }
}
