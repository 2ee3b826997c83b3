// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A flow frame that the library writes in addition to Proton's. Source: AMQP 1.0 §2.7.4.
struct FlowFrame {
    /// The fields of a link.
    struct Link: Equatable {
        var handle: UInt32
        var deliveryCount: UInt32
        var linkCredit: UInt32
        var available: UInt32?
        var isDraining: Bool
    }

    /// The state of a local sender.
    struct Sender {
        /// The unused credit in Proton.
        var credit: UInt32
        /// The number of waiting messages.
        var available: UInt32
        var isDraining: Bool
    }

    var nextIncomingID: UInt32
    var incomingWindow: UInt32
    var nextOutgoingID: UInt32
    var outgoingWindow: UInt32
    var link: Link?

    func encoded(channel: UInt16) -> ByteBuffer {
        var fields = ByteBuffer()
        var count: UInt8 = 0
        func add(_ number: UInt32?) {
            count += 1
            guard let number else { return _ = fields.writeInteger(UInt8(0x40)) }
            fields.writeInteger(UInt8(0x70))
            fields.writeInteger(number)
        }
        for field in [self.nextIncomingID, self.incomingWindow, self.nextOutgoingID, self.outgoingWindow] { add(field) }
        if let link {
            for field in [link.handle, link.deliveryCount, link.linkCredit, link.available] { add(field) }
            count += 1
            fields.writeInteger(UInt8(link.isDraining ? 0x41 : 0x42))
        }
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(8 + 3 + 3 + fields.readableBytes))
        frame.writeBytes([2, 0])
        frame.writeInteger(channel)
        // The body starts with the descriptor and the head of a list.
        frame.writeBytes([0x00, 0x53, 0x13, 0xC0, UInt8(1 + fields.readableBytes), count])
        frame.writeBuffer(&fields)
        return frame
    }
}
