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
    /// The kind of event. Its duration is that of the block so far, or of the whole block.
    public let kind: Kind
}

/// The events of a connection or of a link. It ends with the connection.
struct FlowEvents: AsyncSequence, Sendable {
    typealias Element = AMQPFlowEvent
    typealias Failure = Never

    /// The most events that wait for the task that reads them; the oldest are dropped.
    static let limit = 1_024
    let stream: AsyncStream<AMQPFlowEvent>

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var iterator: AsyncStream<AMQPFlowEvent>.AsyncIterator

        /// Returns the next event; `nil` at the end. A cancelled task gets nil, even if events are waiting.
        mutating func next(isolation actor: isolated (any Actor)?) async -> AMQPFlowEvent? {
            // The stream would hand out what it holds first.
            if Task.isCancelled { return nil }
            return await self.iterator.next(isolation: actor)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: self.stream.makeAsyncIterator()) }
}
