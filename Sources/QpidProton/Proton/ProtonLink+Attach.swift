// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The fields of both attach frames.

extension ProtonLink {
    // MARK: The attach of this side

    func setSource(_ source: AMQPSource) throws(AMQPError) {
        try ProtonTerminus.set(pn_link_source(self.pointer), source)
    }

    func setTarget(_ target: AMQPTarget) throws(AMQPError) {
        try ProtonTerminus.set(pn_link_target(self.pointer), target)
    }

    func setProperties(_ properties: AMQPMap, _ capabilities: LinkCapabilities) throws(AMQPError) {
        try LinkProperties.set(self.pointer, properties, capabilities)
    }

    func setSettleModes(sender: AMQPSenderSettleMode, receiver: AMQPReceiverSettleMode) {
        pn_link_set_snd_settle_mode(self.pointer, ProtonSettleMode.sender(sender))
        pn_link_set_rcv_settle_mode(self.pointer, ProtonSettleMode.receiver(receiver))
    }

    /// Sets the largest message in bytes, which Proton advertises and never enforces (P21).
    func setMaxMessageSize(_ bytes: Int) { pn_link_set_max_message_size(self.pointer, UInt64(bytes)) }

    /// Omits the terminus of this side, which refuses the link. Source: AMQP 1.0 §2.6.3.
    func clearOwnTerminus() {
        Self.clear(self.isSender ? pn_link_source(self.pointer) : pn_link_target(self.pointer))
    }

    /// Omits the fields that make the attach long, except the link's name.
    func clearTerminiAndProperties() {
        Self.clear(pn_link_source(self.pointer))
        Self.clear(pn_link_target(self.pointer))
        pn_data_clear(pn_link_properties(self.pointer))
    }

    private static func clear(_ terminus: OpaquePointer?) { pn_terminus_set_type(terminus, PN_UNSPECIFIED) }

    /// The size of the attach frame in bytes, before it is sent.
    var attachSize: Int { ProtonFrameSize.attach(self.pointer) }

    /// The source of this side; `nil` if it is omitted.
    var source: AMQPSource? { ProtonTerminus.source(pn_link_source(self.pointer)) }

    /// The target of this side; `nil` if it is omitted.
    var target: AMQPTarget? { ProtonTerminus.target(pn_link_target(self.pointer)) }

    // MARK: The attach of the peer

    /// The source in the peer's attach; `nil` if the peer refuses the link.
    var remoteSource: AMQPSource? { ProtonTerminus.source(pn_link_remote_source(self.pointer)) }

    /// The target in the peer's attach; `nil` if the peer refuses the link, or answers with a coordinator.
    var remoteTarget: AMQPTarget? { ProtonTerminus.target(pn_link_remote_target(self.pointer)) }

    var hasRemoteSource: Bool { pn_terminus_get_type(pn_link_remote_source(self.pointer)) != PN_UNSPECIFIED }

    /// Whether the peer's attach has a target. A coordinator counts, because it is a target of another kind.
    var hasRemoteTarget: Bool { pn_terminus_get_type(pn_link_remote_target(self.pointer)) != PN_UNSPECIFIED }

    var remoteProperties: AMQPMap { ProtonData.map(pn_link_remote_properties(self.pointer)) }

    /// The largest message that the peer accepts, in bytes; 0 if the peer announced no limit.
    var remoteMaxMessageSize: UInt64 { pn_link_remote_max_message_size(self.pointer) }

    var remoteSenderSettleMode: AMQPSenderSettleMode {
        ProtonSettleMode.sender(pn_link_remote_snd_settle_mode(self.pointer))
    }

    var remoteReceiverSettleMode: AMQPReceiverSettleMode {
        ProtonSettleMode.receiver(pn_link_remote_rcv_settle_mode(self.pointer))
    }
}
