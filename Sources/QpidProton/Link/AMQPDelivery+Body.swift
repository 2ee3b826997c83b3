public import NIOCore

extension AMQPDelivery {
    /// Whether the message was handed over before all of it had come: see ``AMQPReceiver/Configuration/streamsMessages``.
    ///
    /// Its ``payload`` and ``decodeMessage()`` give the sections before the body; read the ``body``.
    public var isStreamed: Bool { self.stream != nil }

    /// The bytes of the message's data sections, in pieces, also of a message that has come as a whole.
    ///
    /// The pieces of a streamed message are read once, by one task. What is not read fills the receiver's
    /// ``AMQPReceiver/Configuration/streamBuffer``, and then the sender waits; other messages of the link come behind it.
    /// Settle the delivery to be rid of the rest.
    public var body: Body { Body(delivery: self) }

    /// The footer of a streamed message, once its ``body`` has been read to the end; else that of the message, if it has one.
    public var footer: AMQPMap? {
        if let stream = self.stream { return stream.footer }
        return (try? self.decodeMessage())?.footer
    }

    /// The bytes of a message's body.
    public struct Body: AsyncSequence, Sendable {
        /// Bytes, in order, of any number but 0.
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

            /// The next bytes, nil at the end. Suspends until there are some.
            ///
            /// A cancelled task gets no further bytes, whether they wait here or not. Another task can go on reading.
            ///
            /// - Throws: `AMQPError` with ``AMQPCondition/aborted`` when the sender has aborted the message, with
            ///   ``AMQPCondition/decodeError`` when its body is not binary data, the link's error when that has ended, and
            ///   ``AMQPCondition/cancelled`` when the task was cancelled: no bytes are lost by that.
            public mutating func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> ByteBuffer? {
                if let stream = self.stream { return try await stream.next() }
                if Task.isCancelled { throw AMQPError.cancelled }
                if let bytes = try self.splitter.next() { return bytes }
                try self.splitter.finish()
                return nil
            }
        }

        /// The pieces from the first that has not been read.
        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self.delivery) }

        /// Reads all that is left into one buffer.
        ///
        /// - Parameter limit: The most bytes to take.
        /// - Throws: As the iterator, and ``AMQPCondition/linkMessageSizeExceeded`` when there are more bytes.
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
