// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The `flow` frame that the library writes itself, byte for byte.
@Suite struct FlowFrameTests {
    private static func flow(_ link: FlowFrame.Link? = nil) -> FlowFrame {
        FlowFrame(
            nextIncomingID: 0x0102_0304,
            incomingWindow: 5,
            nextOutgoingID: 0xFFFF_FFFF,
            outgoingWindow: 7,
            link: link
        )
    }

    @Test func aFlowOfTheSessionHasFourFields() {
        let bytes = Array(Self.flow().encoded(channel: 0x0A0B).readableBytesView)
        let expected: [UInt8] =
            [0, 0, 0, 34, 2, 0, 0x0A, 0x0B, 0, 0x53, 0x13, 0xC0, 21, 4]
            + [0x70, 1, 2, 3, 4] + [0x70, 0, 0, 0, 5] + [0x70, 0xFF, 0xFF, 0xFF, 0xFF] + [0x70, 0, 0, 0, 7]
        #expect(bytes == expected)
    }

    @Test(arguments: [false, true], [UInt32?.none, 9])
    func aFlowOfALinkNamesItsState(isDraining: Bool, available: UInt32?) throws {
        let link = FlowFrame.Link(
            handle: 1,
            deliveryCount: 2,
            linkCredit: 3,
            available: available,
            isDraining: isDraining
        )
        let frame = try ReadFrame(Array(Self.flow(link).encoded(channel: 0).readableBytesView))
        #expect(frame.descriptor == .ulong(0x13) && frame.payload.isEmpty)
        #expect(frame.fields.count == 9)
        #expect(frame.fields[4...6] == [.uint(1), .uint(2), .uint(3)])
        #expect(frame.field(7) == available.map { .uint($0) } ?? .null)
        #expect(frame.field(8) == .bool(isDraining))
    }

    /// The size field covers the whole frame.
    @Test func aFlowIsReadAsItWasWritten() throws {
        let link = FlowFrame.Link(handle: 8, deliveryCount: 7, linkCredit: 6, available: nil, isDraining: true)
        let encoded = Self.flow(link).encoded(channel: 3)
        let header = encoded.withUnsafeReadableBytes { bytes in
            FrameHeader.size(bytes) == bytes.count ? FrameHeader(bytes) : nil
        }
        guard case .flow(channel: 3, let flow)? = header else { throw Unexpected(what: "no flow") }
        #expect(flow.nextIncomingID == 0x0102_0304 && flow.incomingWindow == 5 && flow.nextOutgoingID == .max)
        #expect(flow.handle == 8 && flow.deliveryCount == 7 && flow.linkCredit == 6 && flow.available == nil)
        #expect(flow.drain && !flow.echo)
    }
}
