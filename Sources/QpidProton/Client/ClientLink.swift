// SPDX-License-Identifier: Apache-2.0

/// A sender or receiver that outlives its links. The supervisor attaches the links.
protocol ClientLink: AnyObject, Sendable {
    var name: String { get }
    var address: String? { get }
    /// The reply that is answered when the supervisor has attached the first link, or never will.
    var first: Reply<Void> { get }
    /// The error that ended the sender or receiver for good; `nil` while it lasts.
    var end: AMQPError? { get }

    /// Attaches a link, and uses it.
    func attach(on session: AMQPSession) async throws(AMQPError)
    /// Attaches and closes a link, to find out whether the peer refuses it.
    func probe(on session: AMQPSession) async throws(AMQPError)
    /// Records that the supervisor counts the link as attached. Answers ``first``, unless credit is withheld.
    func attached()
    /// Suspends until the link has ended, and returns the cause.
    func waitUntilLost() async -> AMQPError
    /// Releases the ended link, and returns the figures of the loss.
    func lose() async -> LossFigures
    /// Ends the sender or receiver for good.
    func finish(_ error: AMQPError) async
    /// The work that is unfinished after the end.
    var unfinished: AMQPUnfinished { get }
    /// The number of messages in doubt that the last link received again.
    var replayed: Int { get }
    /// The change of a dynamic address with the last link.
    var addressChange: (from: String?, to: String?)? { get }
}

/// The figures of a lost link.
struct LossFigures: Sendable {
    var inDoubt = 0
    var bytes = 0
    /// Deliveries that no task had received, and that can no longer be settled.
    var dropped = 0

    static func + (left: Self, right: Self) -> Self {
        Self(
            inDoubt: left.inDoubt + right.inDoubt,
            bytes: left.bytes + right.bytes,
            dropped: left.dropped + right.dropped
        )
    }
}
