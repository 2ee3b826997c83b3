// SPDX-License-Identifier: Apache-2.0

/// The fields of a peer's attach. Source: AMQP 1.0 §2.7.3.
public struct AMQPAttach: Hashable, Sendable {
    /// The name of the link.
    public var name: String
    /// The source of the messages; `nil` if the attach has no source.
    public var source: AMQPSource?
    /// The target of the messages; `nil` if the attach has no target, or a target of another kind, such as a
    /// coordinator.
    public var target: AMQPTarget?
    /// The properties of the link.
    public var properties: AMQPMap
    /// The extensions that the peer offers. Source: AMQP 1.0 §2.7.3.
    public var offeredCapabilities: [AMQPSymbol]
    /// The extensions that the peer would like to use. Source: AMQP 1.0 §2.7.3.
    public var desiredCapabilities: [AMQPSymbol]
    /// The largest message that the peer accepts, in bytes; `nil` for no limit.
    public var maxMessageSize: AMQPByteCount?
    /// Whether the sender settles its messages itself.
    public var senderSettleMode: AMQPSenderSettleMode
    /// The time at which the receiver settles.
    public var receiverSettleMode: AMQPReceiverSettleMode

    /// Returns whether all fields are equal. Compares names by their bytes.
    public static func == (left: Self, right: Self) -> Bool {
        left.name.hasSameUTF8(as: right.name) && left.source == right.source && left.target == right.target
            && left.properties == right.properties && left.offeredCapabilities == right.offeredCapabilities
            && left.desiredCapabilities == right.desiredCapabilities && left.maxMessageSize == right.maxMessageSize
            && left.senderSettleMode == right.senderSettleMode && left.receiverSettleMode == right.receiverSettleMode
    }

    /// Hashes the name and both termini.
    public func hash(into hasher: inout Hasher) {
        self.name.hashBytes(into: &hasher)
        hasher.combine(self.source)
        hasher.combine(self.target)
    }
}
