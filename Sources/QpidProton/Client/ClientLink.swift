// SPDX-License-Identifier: Apache-2.0

/// A sender or a receiver that outlives its links, for the supervisor, which attaches them.
protocol ClientLink: AnyObject, Sendable {
    var name: String { get }
    var address: String? { get }
    /// Answered when the first link is attached, or when there will be none.
    var first: Reply<Void> { get }
    /// Why it ends for good; nil while it lasts.
    var end: AMQPError? { get }

    /// Attaches a link, and uses it.
    func attach(on session: AMQPSession) async throws(AMQPError)
    /// Attaches a link and closes it, to see whether the peer refuses it.
    func probe(on session: AMQPSession) async throws(AMQPError)
    /// Suspends until the link has ended, and returns why.
    func waitUntilLost() async -> AMQPError
    /// Lets go of the link that has ended, and returns what it leaves.
    func lose() async -> LossFigures
    /// Ends it for good.
    func finish(_ error: AMQPError) async
    /// What it leaves unfinished after its end.
    var unfinished: AMQPUnfinished { get }
    /// How many messages in doubt the last link was given again.
    var replayed: Int { get }
    /// The change of a dynamic address with the last link.
    var addressChange: (from: String?, to: String?)? { get }
}

/// What a lost link leaves.
struct LossFigures: Sendable {
    var inDoubt = 0
    var bytes = 0
    /// Deliveries that no task had taken, and that cannot be settled any more.
    var dropped = 0

    static func + (left: Self, right: Self) -> Self {
        Self(
            inDoubt: left.inDoubt + right.inDoubt,
            bytes: left.bytes + right.bytes,
            dropped: left.dropped + right.dropped
        )
    }
}
