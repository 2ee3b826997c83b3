internal import Synchronization

// What the peer's flows tell of a link. Read at any time and from any task, without a wait.

extension LinkCore {
    var flowProperties: AMQPMap { self.status.flowProperties.withLock { $0 } }
}

extension AMQPSender {
    /// The properties of the link in the peer's last flow of it; empty where it had none, or more than about 900 bytes.
    ///
    /// Source: AMQP 1.0 §2.7.4.
    public var flowProperties: AMQPMap { self.core.flowProperties }
}

extension AMQPReceiver {
    /// The properties of the link in the peer's last flow of it; empty where it had none, or more than about 900 bytes.
    ///
    /// Source: AMQP 1.0 §2.7.4.
    public var flowProperties: AMQPMap { self.core.flowProperties }

    /// The messages that the peer had for this link when it sent its last flow; nil when that did not say.
    ///
    /// Source: AMQP 1.0 §2.6.7, available.
    public var available: Int? {
        let available = self.core.status.available.load(ordering: .relaxed)
        return available < 0 ? nil : available
    }
}
