// SPDX-License-Identifier: Apache-2.0

/// The beginning or the end of a block of a link.
public struct AMQPFlowEvent: Hashable, Sendable {
    /// The kind of event.
    public enum Kind: Hashable, Sendable {
        /// The link has been blocked for at least the requested time.
        case blocked(for: Duration)
        /// The link makes progress again, or another cause blocks it.
        case unblocked(after: Duration)
    }

    /// The name of the link.
    public let linkName: String
    /// Whether the link is a sender.
    public let isSender: Bool
    /// The cause that blocks or blocked the link.
    public let cause: AMQPBlockCause
    /// The kind of event, with the duration of the block: so far for `blocked`, in total for `unblocked`.
    public let kind: Kind
}

/// The flow events of a connection or of a link. The sequence ends with the connection.
struct FlowEvents: AsyncSequence, Sendable {
    typealias Element = AMQPFlowEvent
    typealias Failure = Never

    /// The maximum number of unread events; the sequence drops the oldest ones.
    static let limit = 1_024
    let stream: AsyncStream<AMQPFlowEvent>

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var iterator: AsyncStream<AMQPFlowEvent>.AsyncIterator

        /// Returns the next event; `nil` at the end. Returns `nil` in a cancelled task, even if events are waiting.
        mutating func next(isolation actor: isolated (any Actor)?) async -> AMQPFlowEvent? {
            // A cancelled `AsyncStream` would first return its buffered events.
            if Task.isCancelled { return nil }
            return await self.iterator.next(isolation: actor)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: self.stream.makeAsyncIterator()) }
}
