// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The figures of a link in the peer's flows. Any task can read these figures at any time without waiting.

extension LinkCore {
    var flowProperties: AMQPMap { self.status.flowProperties.withLock { $0 } }
}

extension AMQPSender {
    /// The link properties in the peer's last flow of the link; empty if the flow had no properties, or
    /// more than about 900 bytes.
    ///
    /// Source: AMQP 1.0 §2.7.4.
    public var flowProperties: AMQPMap { self.core.flowProperties }
}

extension AMQPReceiver {
    /// The link properties in the peer's last flow of the link; empty if the flow had no properties, or
    /// more than about 900 bytes.
    ///
    /// Source: AMQP 1.0 §2.7.4.
    public var flowProperties: AMQPMap { self.core.flowProperties }

    /// The number of messages that the peer had for this link when it sent its last flow; `nil` if that flow contained
    /// no number.
    ///
    /// Source: AMQP 1.0 §2.6.7, available.
    public var available: Int? {
        let available = self.core.status.available.load(ordering: .relaxed)
        return available < 0 ? nil : available
    }
}
