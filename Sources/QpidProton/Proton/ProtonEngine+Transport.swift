// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The transport: its settings, its timers, and its end.

extension ProtonEngine {
    /// Makes the transport wait for the peer's open.
    func setServer() { pn_transport_set_server(self.transport) }

    /// Sets the largest frame that this side accepts, in bytes. Without this limit, sessions have no window (P13).
    func setMaxFrameSize(_ bytes: Int) { pn_transport_set_max_frame(self.transport, UInt32(clamping: bytes)) }

    func setChannelMax(_ channel: UInt16) { pn_transport_set_channel_max(self.transport, channel) }

    /// Sets how long the peer may be silent; `nil` for no limit. Proton advertises half of this time (P56).
    func setIdleTimeout(_ timeout: Duration?) {
        pn_transport_set_idle_timeout(self.transport, timeout.map { pn_millis_t(clamping: $0.milliseconds) } ?? 0)
    }

    /// The largest frame that the peer accepts, in bytes; `.max` if the peer announced no limit.
    var remoteMaxFrameSize: UInt32 { pn_transport_get_remote_max_frame(self.transport) }

    var remoteChannelMax: UInt16 { pn_transport_remote_channel_max(self.transport) }

    /// The idle-time-out of the peer, in milliseconds; 0 for none. Proton sends an empty frame in each half of this
    /// time.
    var remoteIdleTimeout: UInt32 { pn_transport_get_remote_idle_timeout(self.transport) }

    /// Runs Proton's timers. Returns their next time in milliseconds of the same clock; `nil` if there are no timers,
    /// until an idle timeout is set (P31).
    func tick(_ milliseconds: Int64) -> Int64? {
        let next = pn_transport_tick(self.transport, milliseconds)
        return next == 0 ? nil : next
    }

    /// The text that ``tick(_:)`` writes into the error of the transport after a silence of the peer.
    static let idleTimeoutText = "local-idle-timeout expired"

    /// The error of the transport; `nil` if there is none.
    var transportError: AMQPError? {
        pn_transport_condition(self.transport).flatMap { ProtonCondition.get($0, .connection, origin: .local) }
    }

    /// Fails the transport. The condition must be set before the two halves close, or it is lost.
    func fail(_ error: AMQPError) {
        if let condition = pn_transport_condition(self.transport), !pn_condition_is_set(condition) {
            ProtonCondition.set(condition, error)
        }
        self.closeBoth()
    }
}
