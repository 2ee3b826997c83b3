// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The edits of this side's frames after Proton has written them.
@Suite struct OutgoingEditsTests {
    private func bytes(_ frame: Frame) throws -> [UInt8] { Array(try frame.encoded().readableBytesView) }

    /// Edits the window of a frame that lies in the output from `offset`, or outside the output if `offset` is `nil`.
    private func window(_ frame: [UInt8], in output: [UInt8], at offset: Int?, limit: Int = .max) -> (
        edited: [UInt8]?, output: [UInt8]
    ) {
        var output = output
        let edited = output.withUnsafeMutableBytes { bytes in
            guard let offset else {
                return frame.withUnsafeBytes { OutgoingEdits.window(0xABCD, in: $0, of: bytes, limit: limit) }
            }
            let head = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[offset..<offset + frame.count])
            return OutgoingEdits.window(0xABCD, in: head, of: bytes, limit: limit)
        }
        return (edited, output)
    }

    @Test func aMarkedTagYieldsTheFormat() throws {
        let tag = MarkedTag.bytes([5, 6], format: 0x0102_0304)
        let frame = Frame.transfer(handle: 1, id: 2, tag: tag, payload: payload(20))
        let edited = try #require(try self.bytes(frame).withUnsafeBytes { OutgoingEdits.transfer($0) })
        let read = try ReadFrame(edited)
        #expect(read.field(2) == .binary(ByteBuffer(bytes: [5, 6])) && read.field(3) == .uint(0x0102_0304))
        #expect(read.size == edited.count && read.payload == Array(payload(20).readableBytesView))
    }

    @Test func aTagThatIsNotMarkedStays() throws {
        let tags: [[UInt8]?] = [nil, [5, 6], Array(repeating: 1, count: MarkedTag.count)]
        for tag in tags {
            let bytes = try self.bytes(.transfer(handle: 1, id: 2, tag: tag))
            #expect(bytes.withUnsafeBytes { OutgoingEdits.transfer($0) } == nil)
        }
    }

    @Test func thePropertiesOfAnAttachYieldItsFields() throws {
        let map: AMQPMap = [.symbol("p"): .uint(1)]
        let fields: [AMQPValue] = [.symbol("offered"), .symbol("desired"), .map(map)]
        let carried = ByteBuffer(bytes: try fields.flatMap { try $0.bytes })
        let frame = Frame.attach(.string("l"), handle: 0, isReceiver: true, properties: .binary(carried))
        let edited = try #require(try self.bytes(frame).withUnsafeBytes { OutgoingEdits.attach($0) })
        let read = try ReadFrame(edited)
        #expect(AttachFields.all.map { read.field($0) } == fields)
        #expect(read.size == edited.count && read.field(0) == .string("l"))
        let plain: [AMQPValue] = [.null, .map(map), .binary(ByteBuffer(bytes: [0x40, 0x40]))]
        for properties in plain {
            let other = Frame.attach(.string("l"), handle: 0, isReceiver: true, properties: properties)
            #expect(try self.bytes(other).withUnsafeBytes { OutgoingEdits.attach($0) } == nil)
        }
    }

    @Test func theWindowOfAFlowIsEditedInPlace() throws {
        let flow = Array(
            FlowFrame(nextIncomingID: 1, incomingWindow: 2, nextOutgoingID: 3, outgoingWindow: 4)
                .encoded(channel: 0).readableBytesView
        )
        let (edited, output) = self.window(flow, in: [0xFF] + flow + [0xEE], at: 1)
        #expect(edited == nil && output.first == 0xFF && output.last == 0xEE)
        let read = try ReadFrame(Array(output.dropFirst().dropLast()))
        #expect(read.fields == [.uint(1), .uint(0xABCD), .uint(3), .uint(4)])
    }

    @Test func aFrameWithoutRoomForTheWindowIsReplaced() throws {
        let small: [UInt8] = [0, 0, 0, 18, 2, 0, 0, 0, 0, 0x53, 0x13, 0xC0, 5, 4, 0x43, 0x43, 0x43, 0x43]
        let (edited, output) = self.window(small, in: small, at: 0)
        #expect(output == small)
        #expect(try ReadFrame(try #require(edited)).fields == [.uint(0), .uint(0xABCD), .uint(0), .uint(0)])
        #expect(self.window(small, in: small, at: 0, limit: 20).edited == nil)
    }

    /// The scanner buffered the pieces of this head elsewhere, so the output has other bytes at that place.
    @Test func theFrameOfABufferedHeadIsRebuilt() throws {
        let flow = try self.bytes(.flow(nextIncomingID: 0x0101_0101, window: 0x0202_0202))
        let rest: [UInt8] = [1, 2, 3]
        let (edited, output) = self.window(flow, in: rest, at: nil)
        #expect(output == rest)
        #expect(try ReadFrame(try #require(edited)).field(1) == .uint(0xABCD))
    }

    @Test func aBeginAdvertisesTheHighestHandleToo() throws {
        let begin = try self.bytes(.begin(answering: 1))
        let (edited, output) = self.window(begin, in: begin, at: 0)
        #expect(output == begin)
        let bytes = try #require(edited)
        #expect(try ReadFrame(bytes).field(2) == .uint(0xABCD))
        #expect(try ReadFrame(bytes).field(4) == .uint(0x7FFF_FFFF))
        // In a frame without room for the handle, the edit sets only the window.
        let (short, _) = self.window(begin, in: begin, at: 0, limit: bytes.count - 1)
        #expect(try ReadFrame(try #require(short)).field(2) == .uint(0xABCD))
        #expect(try ReadFrame(try #require(short)).field(4) == .null)
    }

    @Test func otherFramesCarryNoWindow() throws {
        let detach = try self.bytes(.detach(0))
        let (edited, output) = self.window(detach, in: detach, at: 0)
        #expect(edited == nil && output == detach)
    }
}
