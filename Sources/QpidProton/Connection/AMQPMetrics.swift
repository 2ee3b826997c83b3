public import CoreMetrics

/// How a connection reports its flow to swift-metrics.
///
/// | Metric | Kind | Dimensions | What it is |
/// |---|---|---|---|
/// | `amqp.connection.outgoing_bytes` | gauge | | accepted and not written to the socket |
/// | `amqp.connection.socket_bytes` | gauge | | on their way from Proton to the socket |
/// | `amqp.link.bytes` | gauge | `link`, `role` | accepted and not written, or waiting for the application |
/// | `amqp.link.messages` | gauge | `link`, `role` | waiting to be sent, or to be taken |
/// | `amqp.link.credit` | gauge | `link`, `role` | messages that may be sent now |
/// | `amqp.link.unsettled` | gauge | `link`, `role` | messages that are not settled |
/// | `amqp.link.blocked` | timer | `link`, `role`, `cause` | how long something kept the link from moving, at its end |
/// | `amqp.link.blocked_nanoseconds` | counter | `link`, `role`, `cause` | the sum of it, also while it lasts |
///
/// `role` is `sender` or `receiver`, `cause` is the raw value of an ``AMQPBlockCause``.
public struct AMQPMetrics: Sendable {
    /// How often gauges and counters are written; 1 ms at least.
    public var interval: Duration = .seconds(1)
    /// Blocks that are shorter are not recorded by the timer.
    public var shortestBlock: Duration = .milliseconds(1)
    /// Makes the name of a metric of its standard name.
    public var name: @Sendable (String) -> String = { $0 }
    /// Dimensions that all metrics of the connection carry, for example its peer.
    public var dimensions: [(String, String)] = []

    /// Where the metrics go; nil for what `MetricsSystem` was bootstrapped with.
    public var factory: (any MetricsFactory)?

    /// Makes settings of the defaults.
    public init() {}
}
