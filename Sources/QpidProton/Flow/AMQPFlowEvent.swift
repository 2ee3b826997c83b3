/// The beginning or the end of a time in which something kept a link from moving.
public struct AMQPFlowEvent: Hashable, Sendable {
    /// What has happened.
    public enum Kind: Hashable, Sendable {
        /// The link has been kept from moving for as long as was asked for.
        case blocked(for: Duration)
        /// The link moves again, or something else keeps it from moving.
        case unblocked(after: Duration)
    }

    /// The name of the link.
    public let linkName: String
    /// Whether it is a sender.
    public let isSender: Bool
    /// What has kept the link from moving.
    public let cause: AMQPBlockCause
    /// What has happened. The durations are those of the block so far, or of the whole of it.
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

        /// The next event; nil at the end. A cancelled task gets nil, even if events are waiting.
        mutating func next(isolation actor: isolated (any Actor)?) async -> AMQPFlowEvent? {
            // The stream would hand out what it holds first.
            if Task.isCancelled { return nil }
            return await self.iterator.next(isolation: actor)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: self.stream.makeAsyncIterator()) }
}
