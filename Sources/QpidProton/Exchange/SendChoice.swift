internal import NIOCore

/// The options of one message that has other than the usual ones. Most messages have none, and hold nothing.
final class SendChoice: Sendable {
    let options: AMQPSendOptions
    /// Where the message waits to be sent.
    let lane: SlotKey
    /// When it expires, on the clock of the loop; `nil` for never.
    let deadline: NIODeadline?

    init(_ options: AMQPSendOptions, lane: SlotKey, now: NIODeadline) {
        self.options = options
        self.lane = lane
        self.deadline = options.expiresAfter.map { now + .nanoseconds(max(.zero, $0).nanoseconds) }
    }

    /// `nil` for a tag of the library.
    var tag: [UInt8]? { self.options.deliveryTag }
    var format: UInt32 { self.options.messageFormat }
    /// Whether the transfer differs from that of a message without options.
    var isVisible: Bool { self.tag != nil || self.format != 0 }
}
