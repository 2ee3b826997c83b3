// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The fields of a frame that the guards and the flow control read.
@Suite struct FrameHeaderTests {
    private func read(_ bytes: [UInt8]) -> FrameHeader? { bytes.withUnsafeBytes { FrameHeader($0) } }

    private func read(_ frame: Frame) throws -> FrameHeader? { self.read(Array(try frame.encoded().readableBytesView)) }

    private func unreadable(_ frame: Frame) throws -> String? {
        if case .unreadable(let name)? = try self.read(frame) { name } else { nil }
    }

    @Test func anEmptyFrameHasNoPerformativeAndAnotherTypeIsForeign() throws {
        #expect(self.read([0, 0, 0, 8, 2, 0, 0, 0]) == nil && self.read([0, 0, 0, 8, 2, 0, 0]) == nil)
        for head: [UInt8] in [[2, 1], [1, 0], [9, 0]] {
            guard case .foreign(let text)? = self.read([0, 0, 0, 9] + head + [0, 0, 0x40]) else {
                Issue.record("not foreign: \(head)")
                continue
            }
            #expect(text == "a frame of type \(head[1]) whose data offset is \(head[0])")
        }
        guard case .foreign(let text)? = self.read([0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x19, 0x45]) else {
            throw Unexpected(what: "not foreign")
        }
        #expect(text == "a frame that is no performative of AMQP")
    }

    @Test func theOpenHasItsFrameSizeAndTheTextThatProtonWouldCut() throws {
        func open(_ fields: [AMQPValue]) throws -> FrameHeader.Open {
            guard case .open(let open)? = try self.read(Frame(.open, fields)) else { throw Unexpected(what: "no open") }
            return open
        }
        #expect(try open([.string("c"), .null, .uint(512)]).maxFrameSize == 512)
        #expect(try open([.string("c")]).maxFrameSize == nil && open([.string("c")]).flaw == nil)
        #expect(try open([.string("c\0"), .string("h\0")]).flaw == "container-id")
        #expect(try open([.string("c"), .string("h\0")]).flaw == "hostname")
    }

    @Test func theBeginNeedsItsIDsAndItsWindow() throws {
        guard case .begin(let channel, let begin)? = try self.read(.begin(channel: 3, answering: 5, window: 9)) else {
            throw Unexpected(what: "no begin")
        }
        #expect(channel == 3 && begin.remoteChannel == 5 && begin.nextOutgoingID == 0)
        #expect(begin.incomingWindow == 9 && begin.outgoingWindow == 9)
        #expect(try self.unreadable(Frame(.begin, [.null, .uint(0)])) == "begin")
        #expect(try self.unreadable(Frame(.begin, [.uint(1), .uint(0), .uint(0)])) == "begin")
    }

    @Test func anAttachWithMissingFieldsIsRead() throws {
        func attach(_ frame: Frame) throws -> FrameHeader.Attach {
            guard case .attach(_, let attach)? = try self.read(frame) else { throw Unexpected(what: "no attach") }
            return attach
        }
        let whole = try attach(.attach(.string("l"), handle: 4, isReceiver: false))
        #expect(whole.name == "l" && whole.handle == 4 && !whole.isReceiver)
        #expect(whole.initialDeliveryCount == 0 && whole.flaw == nil && whole.capabilities.isEmpty)
        let short = try attach(Frame(.attach, [.string("l"), .uint(1), .bool(true)]))
        #expect(short.isReceiver && short.initialDeliveryCount == nil)
        let bad: AMQPValue = .described(0x28, .list([.string("a\0")]))
        #expect(
            try attach(.attach(.string("l"), handle: 0, isReceiver: true, source: bad)).flaw
                == "address of its source"
        )
        #expect(
            try attach(.attach(.string("l"), handle: 0, isReceiver: true, target: bad)).flaw
                == "address of its target"
        )
        #expect(try self.unreadable(.attach(.null, handle: 0, isReceiver: true)) == "attach")
        #expect(try self.unreadable(Frame(.attach, [.string("l"), .uint(1)])) == "attach")
    }

    @Test func theFlowNeedsTheWindowAlone() throws {
        func flow(_ frame: Frame) throws -> FrameHeader.Flow {
            guard case .flow(_, let flow)? = try self.read(frame) else { throw Unexpected(what: "no flow") }
            return flow
        }
        let link = try flow(.flow(window: 7, handle: 2, deliveryCount: 3, credit: 4, available: 5, drain: true))
        #expect(link.nextIncomingID == 0 && link.incomingWindow == 7 && link.handle == 2 && link.deliveryCount == 3)
        #expect(link.linkCredit == 4 && link.available == 5 && link.drain && !link.echo && link.properties == nil)
        let session = try flow(.flow(nextIncomingID: nil, echo: true, properties: [.symbol("a"): .uint(1)]))
        #expect(session.nextIncomingID == nil && session.handle == nil && session.echo)
        #expect(session.properties?[.symbol("a")] == .uint(1))
        #expect(try flow(Frame(.flow, [.null, .uint(6)])).incomingWindow == 6)
        #expect(try self.unreadable(Frame(.flow, [.uint(0), .null])) == "flow")
    }

    @Test func theTransferMayBeAbortedWhileMoreFollows() throws {
        func transfer(_ frame: Frame) throws -> FrameHeader.Transfer {
            guard case .transfer(_, let transfer)? = try self.read(frame) else { throw Unexpected(what: "no transfer") }
            return transfer
        }
        let plain = try transfer(.transfer(handle: 1, id: 9, tag: [1]))
        #expect(plain.handle == 1 && plain.deliveryID == 9 && plain.messageFormat == 0)
        #expect(!plain.hasMore && !plain.mayBeAborted)
        let more = try transfer(.transfer(handle: 1, id: nil, more: true))
        #expect(more.deliveryID == nil && more.hasMore && !more.mayBeAborted)
        #expect(try transfer(.transfer(handle: 1, id: 9, more: true, aborted: true)).mayBeAborted)
        // Without `more` the flag has no meaning for the library, and Proton reads it.
        #expect(try !transfer(.transfer(handle: 1, id: 9, aborted: true)).mayBeAborted)
        #expect(
            try transfer(Frame(.transfer, [.uint(1), .null, .null, .uint(0x8000_0001)])).messageFormat
                == 0x8000_0001
        )
        #expect(try self.unreadable(Frame(.transfer, [.null, .uint(0)])) == "transfer")
        #expect(try self.unreadable(Frame(.transfer, [.uint(0), .null, .string("t")])) == "transfer")
    }

    @Test func aDispositionOfOneDeliveryEndsAtItsFirstID() throws {
        func range(_ frame: Frame) throws -> [UInt32] {
            guard case .disposition(let first, let last)? = try self.read(frame) else { throw Unexpected(what: "none") }
            return [first, last]
        }
        #expect(try range(.disposition(4)) == [4, 4] && range(.disposition(4, 8)) == [4, 8])
        #expect(try self.unreadable(Frame(.disposition, [.bool(true), .null])) == "disposition")
    }

    @Test func theEndsAreReadWithTheirChannels() throws {
        guard case .detach(channel: 2, handle: 6)? = try self.read(.detach(6, channel: 2)),
            case .end(channel: 3)? = try self.read(Frame(.end, channel: 3, [])),
            case .close? = try self.read(Frame(.close, []))
        else { throw Unexpected(what: "another frame") }
        #expect(try self.unreadable(Frame(.detach, [])) == "detach")
        #expect(self.read([0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x17, 0x40]).map { "\($0)" } == "unreadable(\"end\")")
    }

    @Test func onlyAUsualTransferTakesTheFastPath() throws {
        func channel(_ bytes: [UInt8]) -> UInt16? { bytes.withUnsafeBytes { FrameHeader.channelOfTransfer($0) } }
        #expect(channel([0, 0, 0, 12, 2, 0, 1, 2, 0, 0x53, 0x14, 0x45]) == 0x0102)
        #expect(channel([0, 0, 0, 12, 2, 0, 1, 2, 0, 0x53, 0x15, 0x45]) == nil)
        #expect(channel([0, 0, 0, 16, 3, 0, 1, 2, 0, 0, 0, 0, 0, 0x53, 0x14, 0x45]) == nil)
        #expect(channel([0, 0, 0, 12, 2, 1, 1, 2, 0, 0x53, 0x14, 0x45]) == nil)
    }
}
