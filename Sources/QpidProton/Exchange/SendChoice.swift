// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The options of one message that differ from the defaults. Most messages have no such options and need no memory.
final class SendChoice: Sendable {
    let options: AMQPSendOptions
    /// The lane in which the message waits to be sent.
    let lane: SlotKey
    /// The time at which the message expires, on the loop's clock; `nil` for never.
    let deadline: NIODeadline?

    init(_ options: AMQPSendOptions, lane: SlotKey, now: NIODeadline) {
        self.options = options
        self.lane = lane
        self.deadline = options.expiresAfter.map { now + .nanoseconds(max(.zero, $0).nanoseconds) }
    }

    /// The chosen delivery-tag; `nil` for a tag of the library.
    var tag: [UInt8]? { self.options.deliveryTag }
    var format: UInt32 { self.options.messageFormat }
    /// Whether the transfer differs from that of a message without options.
    var isVisible: Bool { self.tag != nil || self.format != 0 }
}
