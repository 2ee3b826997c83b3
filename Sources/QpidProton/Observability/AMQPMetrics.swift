// SPDX-License-Identifier: Apache-2.0

public import CoreMetrics

/// The settings for reporting connections to swift-metrics.
///
/// | Metric | Kind | Dimensions | What it is |
/// |---|---|---|---|
/// | `amqp.connections` | gauge | | connections that are open now |
/// | `amqp.connections_opened` | counter | | opened connections |
/// | `amqp.connection_errors` | counter | `condition` | errors that ended a connection or kept it from opening |
/// | `amqp.connection.outgoing_bytes` | gauge | | accepted bytes that are not yet written to the socket |
/// | `amqp.connection.socket_bytes` | gauge | | bytes on their way from Proton to the socket |
/// | `amqp.links_opened` | counter | `role` | attached links |
/// | `amqp.links_ended` | counter | `role`, `condition` | links that ended or were refused |
/// | `amqp.link.bytes` | gauge | `address`, `role` | bytes that wait to be written, or for the application |
/// | `amqp.link.messages` | gauge | `address`, `role` | messages that wait to be sent, or for the application |
/// | `amqp.link.credit` | gauge | `address`, `role` | messages that may be sent now |
/// | `amqp.link.unsettled` | gauge | `address`, `role` | unsettled messages |
/// | `amqp.link.blocked` | timer | `address`, `role`, `cause` | how long a block lasted, recorded when it ends |
/// | `amqp.link.blocked_nanoseconds` | counter | `address`, `role`, `cause` | how long links were blocked, also while a block lasts |
/// | `amqp.messages_sent` | counter | `address` | messages whose write to the socket is complete |
/// | `amqp.bytes_sent` | counter | `address` | encoded bytes whose write to the socket is complete |
/// | `amqp.outcomes` | counter | `address`, `outcome` | accepted messages by outcome or fate |
/// | `amqp.outcome_time` | timer | `address` | time from the start of sending a message to its outcome |
/// | `amqp.messages_received` | counter | `address` | messages that arrived whole |
/// | `amqp.bytes_received` | counter | `address` | encoded bytes of messages that arrived whole |
/// | `amqp.settlements` | counter | `address`, `outcome` | decisions that the application made |
/// | `amqp.settlements_lost` | counter | `address` | decisions that were not sent, or may not have been, because the link ended |
/// | `amqp.client.attempts` | counter | | attempts of clients to connect |
/// | `amqp.client.losses` | counter | | lost connections of clients |
/// | `amqp.client.link_losses` | counter | | links of clients that were lost while their connection remained |
/// | `amqp.client.in_doubt` | counter | | messages in doubt at a loss |
/// | `amqp.client.replayed` | counter | | messages in doubt that were sent again |
/// | `amqp.client.down` | timer | | time from a loss until all links were attached again |
/// | `amqp.consumer.handled` | counter | `address` | calls of a consumer's handler |
/// | `amqp.consumer.failed` | counter | `address` | calls that threw, or ran for too long |
/// | `amqp.consumer.rejected` | counter | `address` | messages that were rejected after their last attempt |
/// | `amqp.consumer.handler_time` | timer | `address` | how long a call of the handler took |
///
/// - `address`: a sender's target address, or a receiver's source address. `none` without one, `dynamic` if the peer
///   creates the node, and `other` beyond ``addressLimit`` and above 256 bytes. Links with the same address and role
///   share one series. No dimension holds a generated name.
/// - `role`: `sender` or `receiver`.
/// - `cause`: the raw value of an ``AMQPBlockCause``.
/// - `condition`: an ``AMQPCondition`` of this library or the standard, `other` for any other condition, `none` without
///   an error.
/// - `outcome`: `accepted`, `rejected`, `released`, `modified` or `settled`; for a message without an outcome its fate:
///   `not_sent`, `in_doubt`, `aborted`, `dropped` or `expired`. When a connection has ended, the sum is the number of
///   messages that it accepted.
///
/// Copies of a value share their series: use one value for all connections that report under the same names and
/// dimensions. Gauges are then sums over these connections. A gauge falls to 0 and is destroyed with its last link or
/// connection. Counters and timers remain, so that their sums persist.
public struct AMQPMetrics: Sendable {
    /// The interval at which the library writes gauges and counters: 1 s by default, from 1 ms to 36,500 days.
    ///
    /// The library also writes counters when a link or a connection ends.
    public var interval: Duration = .seconds(1)
    /// The shortest block that the timer records: 1 ms by default.
    public var shortestBlock: Duration = .milliseconds(1)
    /// The closure that returns the reported name of a metric for its standard name.
    public var name: @Sendable (String) -> String = { $0 }
    /// The dimensions of all metrics, for example the peer.
    public var dimensions: [(String, String)] = []
    /// The closure that returns the dimension `address` for the address of a link, for example without a generated
    /// part.
    public var address: @Sendable (String) -> String = { $0 }
    /// The maximum number of addresses that become dimensions: 100 by default, 1 to 100,000. Links of further addresses
    /// count under `other`.
    ///
    /// The first addresses keep their dimensions permanently. The limit is necessary because a peer that attaches links
    /// chooses the addresses.
    public var addressLimit = 100

    /// The factory that receives the metrics; `nil` for the factory with which `MetricsSystem` was bootstrapped.
    public var factory: (any MetricsFactory)? {
        get { self.sink.value }
        set {
            self.sink.value = newValue
            self.hub = MetricsHub()
        }
    }
    private var sink = Unshown<(any MetricsFactory)?>(value: nil)
    /// The series that copies share.
    private(set) var hub = MetricsHub()

    /// Creates settings with the defaults.
    public init() {}

    func validate() throws(AMQPError) {
        func require(_ condition: Bool, _ text: @autoclosure () -> String) throws(AMQPError) {
            if !condition { throw AMQPError(condition: .invalidArgument, detail: text()) }
        }
        try require(
            self.interval >= .milliseconds(1) && self.interval <= .seconds(36_500 * 86_400),
            "metrics.interval is \(self.interval): it must be from 1 ms to 36,500 days"
        )
        try require(
            self.shortestBlock >= .zero,
            "metrics.shortestBlock is \(self.shortestBlock): it must be at least 0"
        )
        try require(
            (1...100_000).contains(self.addressLimit),
            "metrics.addressLimit is \(self.addressLimit): it must be from 1 to 100,000"
        )
    }
}
