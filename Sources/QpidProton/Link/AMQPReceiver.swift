// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The receiving end of a link: an asynchronous sequence of deliveries.
///
/// Received messages wait in the receiver until a task receives them; the window limits their number or bytes. Each
/// message is delivered to exactly one task.
///
/// The link stays open when a loop over the receiver ends. ``close(_:)``, the end of `withReceiver`, or the release of
/// the last reference closes the link, and releases the messages that no task has received. Keep the receiver while
/// there are deliveries to settle: a decision about a delivery of a closed link is ``AMQPSettlement/stale``.
///
/// The peer, the session or the connection may end a link that this side attached. Unsettled messages that no task has
/// received then return to their source. One log line counts them: see ``Configuration/deliversUnsettledAfterEnd``. The
/// receiver first delivers the messages that were sent settled. Then every waiting task and every later call receives
/// the end of the sequence.
public final class AMQPReceiver: AMQPLink, AsyncSequence {
    /// A message that has arrived.
    public typealias Element = AMQPDelivery
    /// The error that ends the sequence.
    public typealias Failure = AMQPError

    let core: LinkCore
    private let inbox: Inbox
    let outbox: Outbox

    init(_ opened: OpenedReceiver, _ attachment: LinkStatus.Attachment, _ session: AMQPSession) {
        self.core = LinkCore(session: session, status: opened.status, attachment: attachment)
        self.inbox = opened.inbox
        self.outbox = session.outbox
    }

    deinit {
        self.outbox.post(.receiver(self.core.status, .close(nil)))
    }

    /// The name of the link. Source: AMQP 1.0 §2.6.1.
    public var name: String { self.core.status.name }
    /// The session that the link is on.
    public var session: AMQPSession { self.core.session }
    /// The source as the peer announced it, with the address of a dynamic source.
    public var remoteSource: AMQPSource { self.core.attachment.source }
    /// The target as the peer announced it, with the address of a dynamic target.
    public var remoteTarget: AMQPTarget { self.core.attachment.target }
    /// The properties of the link that the peer announced.
    public var remoteProperties: AMQPMap { self.core.attachment.properties }
    /// The extensions that the peer offers on the link. Source: AMQP 1.0 §2.7.3.
    public var remoteOfferedCapabilities: [AMQPSymbol] { self.core.attachment.capabilities.offered }
    /// The extensions that the peer would like to use on the link. Source: AMQP 1.0 §2.7.3.
    public var remoteDesiredCapabilities: [AMQPSymbol] { self.core.attachment.capabilities.desired }
    /// The largest message that the peer accepts, in bytes; `nil` for no limit.
    public var remoteMaxMessageSize: AMQPByteCount? { self.core.maxMessageSize }
    /// The number of messages that the peer may still send. Source: AMQP 1.0 §2.6.7.
    public var credit: Int { self.core.status.credit.load(ordering: .relaxed) }
    /// The error that ended the link; `nil` while it is open.
    public var error: AMQPError? { self.core.error }
    /// The bytes of the messages that wait in the receiver, and the unread bytes of streamed messages.
    public var bufferedBytes: AMQPByteCount {
        AMQPByteCount(self.inbox.weight + self.core.status.streamedBytes.load(ordering: .relaxed))
    }
    /// The peak of ``bufferedBytes``.
    package var bufferedBytesPeak: Int {
        Swift.max(self.inbox.peakWeight, self.core.status.bufferedBytesPeak.load(ordering: .relaxed))
    }
    /// The number of messages that wait in the receiver.
    public var bufferedMessages: Int { self.inbox.count }

    /// The number of this receiver's decisions that were not written to the socket before the link ended.
    ///
    /// After the end, the number grows until the connection has written all its bytes, and with each later decision.
    package var unsentSettlements: Int { self.settlements.count }
    var settlements: UnsentSettlements { self.inbox.settler.unsent }

    /// Calls `body` for each later decision, with the sequence number of the message and whether the decision includes
    /// all earlier messages.
    func watchSettlements(_ body: @escaping @Sendable (_ sequence: UInt64, _ includesEarlier: Bool) -> Void) {
        self.inbox.settler.watch(body)
    }

    // MARK: Receiving messages

    /// Returns the next message, and suspends until one arrives.
    ///
    /// A cancelled task receives no further message, even if messages are waiting: these remain for other tasks.
    ///
    /// - Returns: The delivery. `nil` if the link ended without an error and no message is left. In that case this side
    ///   closed the link, session or connection, or the peer closed the link.
    /// - Throws: `AMQPError`, at each call, if the link, session or connection has ended with an error. `.cancelled` if
    ///   the task was cancelled: this loses no message. If a message had already reached the waiting task, the call
    ///   returns it.
    public func next() async throws(AMQPError) -> AMQPDelivery? {
        try await self.inbox.next()
    }

    /// Returns the next message if one is waiting, otherwise `nil`. Never suspends, and works in a cancelled task too.
    public func poll() -> AMQPDelivery? {
        self.inbox.poll()
    }

    /// Returns up to `count` messages. Suspends until one arrives, and returns it with the messages that have already
    /// arrived.
    ///
    /// - Parameter count: The maximum number of messages to return, at least 1.
    /// - Returns: The deliveries in order; an empty array if the link ended without an error and no message is left.
    /// - Throws: The same errors as ``next()``, and ``AMQPCondition/invalidArgument`` for a count below 1.
    public func nextBatch(max count: Int) async throws(AMQPError) -> [AMQPDelivery] {
        guard count > 0 else {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "a batch of \(count) messages is empty: max must be at least 1"
            )
        }
        if Task.isCancelled { throw AMQPError.cancelled }
        let ready = self.inbox.poll(max: count)
        if !ready.isEmpty { return ready }
        guard let first = try await self.inbox.next() else { return [] }
        // The first message reached the task before the cancellation; the others remain for other tasks.
        return Task.isCancelled ? [first] : [first] + self.inbox.poll(max: count - 1)
    }

    /// Returns the next message, or `nil` if the peer has no message.
    ///
    /// At the timeout the receiver asks the peer to send its messages or to return the credit. The answer decides:
    /// `nil` means that no message is on its way. With ``Window/manual`` the call grants credit for one message if
    /// there is no credit.
    ///
    /// Suspends for at most `timeout` plus the connection's `operationTimeout`.
    ///
    /// - Parameter timeout: How long to wait for a message before asking the peer.
    /// - Returns: The delivery. `nil` if the peer has no message, or the link ended without an error.
    /// - Throws: The same errors as ``next()``, and ``AMQPCondition/timeout`` if the peer does not answer within the
    ///   connection's `operationTimeout`.
    ///
    /// Source: AMQP 1.0 §2.6.7, the use of `drain` for a synchronous get.
    public func receive(timeout: Duration) async throws(AMQPError) -> AMQPDelivery? {
        let id = self.inbox.makeWaitID()
        return try await self.inbox.next(id: id) {
            self.outbox.post(.receiver(self.core.status, .limitWait(id, timeout)))
        }
    }

    /// Grants credit for more messages, for a receiver with ``Window/manual``.
    ///
    /// - Parameter credit: The number of further messages that the peer may send; a number below 1 has no effect.
    ///
    /// Source: `pn_link_flow`.
    public func grant(credit: Int) {
        guard credit > 0 else { return }
        self.outbox.post(.receiver(self.core.status, .grant(Swift.min(credit, Int(Int32.max)))))
    }

    // MARK: Sequences

    /// Receives messages one by one.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let receiver: AMQPReceiver

        /// Returns the next message; see ``AMQPReceiver/next()``.
        public func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> AMQPDelivery? {
            try await self.receiver.next()
        }
    }

    /// Returns an iterator over the messages. The link stays open when the loop ends.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(receiver: self)
    }

    /// Returns a sequence of batches, each with up to `count` messages that have already arrived. The link stays open
    /// when the loop ends.
    public func batches(max count: Int) -> Batches {
        Batches(receiver: self, count: count)
    }

    /// An asynchronous sequence of batches of deliveries.
    public struct Batches: AsyncSequence, Sendable {
        /// Messages that have arrived, in order.
        public typealias Element = [AMQPDelivery]
        /// The error that ends the sequence.
        public typealias Failure = AMQPError
        fileprivate let receiver: AMQPReceiver
        fileprivate let count: Int

        /// Receives messages in batches.
        public struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let receiver: AMQPReceiver
            fileprivate let count: Int

            /// Returns the next batch; see ``AMQPReceiver/nextBatch(max:)``.
            public func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> [AMQPDelivery]? {
                let batch = try await self.receiver.nextBatch(max: self.count)
                return batch.isEmpty ? nil : batch
            }
        }

        /// Returns an iterator over the batches.
        public func makeAsyncIterator() -> AsyncIterator {
            AsyncIterator(receiver: self.receiver, count: self.count)
        }
    }

    // MARK: Closing

    /// Suspends until either side has ended the link. Cancellation ends only the wait.
    ///
    /// - Throws: `AMQPError` if the link ended with an error, the peer ended the session or connection, or the task was
    ///   cancelled.
    public func waitUntilClosed() async throws(AMQPError) {
        _ = try await self.core.status.ended.value()
    }
}
