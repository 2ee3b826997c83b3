// SPDX-License-Identifier: Apache-2.0

public import NIOCore

extension AMQPDelivery {
    /// Whether the receiver delivered the message before its last byte arrived: see
    /// ``AMQPReceiver/Configuration/streamsMessages``.
    ///
    /// For such a message, ``payload`` and ``decodeMessage()`` return the sections before the body; read the ``body``.
    public var isStreamed: Bool { self.stream != nil }

    /// The bytes of the message's data sections, in pieces, also for a message that arrived whole.
    ///
    /// Only one task can read the pieces of a streamed message, and only once. Unread bytes fill the receiver's
    /// ``AMQPReceiver/Configuration/streamBuffer``, and then the sender waits. Later messages of the link wait for the
    /// end of this one. To discard the rest, settle the delivery.
    public var body: Body { Body(delivery: self) }

    /// The footer of the message, if it has one.
    ///
    /// For a streamed message, the footer is available once its ``body`` has been read to the end.
    public var footer: AMQPMap? {
        if let stream = self.stream { return stream.footer }
        return (try? self.decodeMessage())?.footer
    }

    /// The bytes of a message's body.
    public struct Body: AsyncSequence, Sendable {
        /// A piece of the body, in order; never empty.
        public typealias Element = ByteBuffer
        /// The error that ends the sequence.
        public typealias Failure = AMQPError

        fileprivate let delivery: AMQPDelivery

        /// Reads the pieces.
        public struct AsyncIterator: AsyncIteratorProtocol {
            private let stream: IncomingStream?
            private var splitter = BodySplitter()

            fileprivate init(_ delivery: AMQPDelivery) {
                self.stream = delivery.stream
                if delivery.stream == nil { self.splitter.append(delivery.payload) }
            }

            /// Returns the next bytes, or `nil` at the end. Suspends until bytes arrive.
            ///
            /// A cancelled task receives no further bytes, even if some are waiting. Another task can continue to read.
            ///
            /// - Throws: `AMQPError` with ``AMQPCondition/aborted`` if the sender aborted the message, or ended
            ///   its link without an error before the end of the message.
            ///   ``AMQPCondition/decodeError`` if the body is not binary data. The link's error if the link has ended.
            ///   ``AMQPCondition/cancelled`` if the task was cancelled, which loses no bytes.
            public mutating func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> ByteBuffer? {
                if let stream = self.stream { return try await stream.next() }
                if Task.isCancelled { throw AMQPError.cancelled }
                if let bytes = try self.splitter.next() { return bytes }
                try self.splitter.finish()
                return nil
            }
        }

        /// Returns an iterator over the unread pieces.
        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self.delivery) }

        /// Reads all remaining bytes into one buffer.
        ///
        /// - Parameter limit: The maximum number of bytes to read.
        /// - Throws: The same errors as the iterator, and ``AMQPCondition/linkMessageSizeExceeded`` if the body has
        ///   more bytes.
        public func collect(upTo limit: AMQPByteCount) async throws(AMQPError) -> ByteBuffer {
            var all = ByteBuffer()
            var iterator = self.makeAsyncIterator()
            while let piece = try await iterator.next(isolation: nil) {
                guard piece.readableBytes <= limit.bytes - all.readableBytes else {
                    throw AMQPError(
                        scope: .delivery,
                        condition: .linkMessageSizeExceeded,
                        detail: "the body has more than \(limit)"
                    )
                }
                all.writeImmutableBuffer(piece)
            }
            return all
        }
    }
}
