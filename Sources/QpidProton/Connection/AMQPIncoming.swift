// SPDX-License-Identifier: Apache-2.0

/// A peer's request for a session or a link. The request waits until the application accepts or refuses it.
public enum AMQPIncoming: Sendable {
    /// The peer has begun a session.
    case session(AMQPIncomingSession)
    /// The peer has attached a sender: accept it to receive.
    case receiver(AMQPIncomingReceiver)
    /// The peer has attached a receiver: accept it to send.
    case sender(AMQPIncomingSender)
}

/// A session that the peer has begun.
public struct AMQPIncomingSession: Sendable {
    let connection: AMQPConnection
    let status: SessionStatus

    /// Begins the session on this side too.
    ///
    /// - Parameter configuration: The settings of the session.
    /// - Throws: `AMQPError` if a setting is unusable or the session has ended.
    @discardableResult
    public func accept(_ configuration: AMQPSession.Configuration = .init()) async throws(AMQPError) -> AMQPSession {
        let opened = try await self.connection.outbox.askAtOnce { .session(self.status, .accept(configuration, $0)) }
        return AMQPSession(opened, self.connection)
    }

    /// Refuses the session.
    ///
    /// After `accept`, closes the accepted session.
    ///
    /// - Parameter error: The reason that the peer receives.
    public func refuse(_ error: AMQPError) {
        self.connection.outbox.post(.session(self.status, .close(error)))
    }
}

/// A sender that the peer has attached: this side would be the receiver.
public struct AMQPIncomingReceiver: Sendable {
    let connection: AMQPConnection
    let status: LinkStatus
    /// The fields of the peer's attach.
    public let attach: AMQPAttach

    /// Attaches the link on this side too. The link has the peer's name: the name in the configuration is ignored.
    ///
    /// - Parameter configuration: The settings of the link. The peer's `source` or `target` replaces a default value.
    /// - Throws: `AMQPError` if a setting is unusable or the link has ended. ``AMQPCondition/invalidArgument`` if the
    ///   answer does not fit into the peer's max-frame-size; this side then refuses the link.
    public func accept(_ configuration: AMQPReceiver.Configuration? = nil) async throws(AMQPError) -> AMQPReceiver {
        var configuration = configuration ?? .init()
        if configuration.source == AMQPSource() { configuration.source = self.attach.source ?? AMQPSource() }
        if configuration.target == AMQPTarget() { configuration.target = self.attach.target ?? AMQPTarget() }
        let settings = configuration
        let accepted = try await self.connection.outbox.askAtOnce { .receiver(self.status, .accept(settings, $0)) }
        let attachment = try await self.status.attachment.value()
        let session = AMQPSession(accepted.session, self.connection)
        return AMQPReceiver(accepted.receiver, attachment, session)
    }

    /// Refuses the link.
    ///
    /// After `accept`, closes the accepted link.
    ///
    /// - Parameter error: The reason that the peer receives.
    public func refuse(_ error: AMQPError) {
        self.connection.outbox.post(.receiver(self.status, .close(error)))
    }
}

/// A receiver that the peer has attached: this side would be the sender.
public struct AMQPIncomingSender: Sendable {
    let connection: AMQPConnection
    let status: LinkStatus
    /// The fields of the peer's attach.
    public let attach: AMQPAttach

    /// Attaches the link on this side too. The link has the peer's name: the name in the configuration is ignored.
    ///
    /// - Parameter configuration: The settings of the link. The peer's `source` or `target` replaces a default value.
    /// - Throws: `AMQPError` if a setting is unusable or the link has ended. ``AMQPCondition/invalidArgument`` if the
    ///   answer does not fit into the peer's max-frame-size; this side then refuses the link.
    public func accept(_ configuration: AMQPSender.Configuration? = nil) async throws(AMQPError) -> AMQPSender {
        var configuration = configuration ?? .init()
        if configuration.source == AMQPSource() { configuration.source = self.attach.source ?? AMQPSource() }
        if configuration.target == AMQPTarget() { configuration.target = self.attach.target ?? AMQPTarget() }
        let settings = configuration
        let accepted = try await self.connection.outbox.askAtOnce { .sender(self.status, .accept(settings, $0)) }
        let attachment = try await self.status.attachment.value()
        let session = AMQPSession(accepted.session, self.connection)
        return AMQPSender(accepted.sender, attachment, session, settles: settings.settleMode)
    }

    /// Refuses the link.
    ///
    /// After `accept`, closes the accepted link.
    ///
    /// - Parameter error: The reason that the peer receives.
    public func refuse(_ error: AMQPError) {
        self.connection.outbox.post(.sender(self.status, .close(error)))
    }
}

extension AMQPConnection {
    /// The peer's requests in order, each session before its links. Each request is delivered to exactly one task.
    ///
    /// The sequence ends with the connection, and throws the connection's error if there was one. The configuration's
    /// `acceptsIncoming` must be true; an ``AMQPListener`` sets it on its connections. Otherwise the library refuses
    /// every request, and `next()` suspends until the connection ends.
    public var incoming: Incoming { Incoming(connection: self) }

    /// An asynchronous sequence of a peer's requests.
    public struct Incoming: AsyncSequence, Sendable {
        /// A request of the peer.
        public typealias Element = AMQPIncoming
        /// The error that ends the sequence.
        public typealias Failure = AMQPError
        fileprivate let connection: AMQPConnection

        /// Returns the requests one by one.
        public struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let connection: AMQPConnection

            /// Returns the next request; `nil` if the connection closed without an error. Suspends until one arrives.
            ///
            /// - Throws: `AMQPError` if the connection has ended with an error. ``AMQPCondition/cancelled`` if the task
            ///   was cancelled: it receives no further request, and waiting requests remain for other tasks.
            public func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> AMQPIncoming? {
                try await self.connection.incoming.next()
            }
        }

        /// Returns the next request; `nil` if the connection closed without an error. Suspends until one arrives.
        ///
        /// - Throws: `AMQPError` if the connection has ended with an error. ``AMQPCondition/cancelled`` if the task was
        ///   cancelled: it receives no further request, and waiting requests remain for other tasks.
        public func next() async throws(AMQPError) -> AMQPIncoming? {
            switch try await self.connection.parts.incoming.next() {
            case nil: nil
            case .session(let status): .session(.init(connection: self.connection, status: status))
            case .receiver(let status, let attach):
                .receiver(.init(connection: self.connection, status: status, attach: attach))
            case .sender(let status, let attach):
                .sender(.init(connection: self.connection, status: status, attach: attach))
            }
        }

        /// Returns an iterator over the requests that no task has received.
        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(connection: self.connection) }
    }
}
