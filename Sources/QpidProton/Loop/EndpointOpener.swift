// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The opener of sessions and links for tasks, on the event loop.
struct EndpointOpener {
    let handler: ConnectionHandler

    /// Begins a session, and answers with its handle at once. The handle's `opened` has the peer's answer.
    ///
    /// - Parameter timeout: The time for the peer's answer; `operationTimeout` if `nil`.
    func openSession(
        _ configuration: AMQPSession.Configuration,
        within timeout: Duration? = nil,
        _ reply: Reply<OpenedSession>
    ) {
        let handler = self.handler
        guard !handler.isDead, handler.ended.answer == nil else { return _ = reply.resolve(.failure(handler.gone)) }
        // This check must precede the call of Proton: see ``ProtonSession/init(of:)``.
        guard handler.sessions.count < handler.channels.count else {
            let text = "the connection has \(handler.sessions.count) sessions, and channel-max allows no more"
            return _ = reply.resolve(.failure(AMQPError(condition: .resourceLimitExceeded, detail: text)))
        }
        guard let session = ProtonSession(of: handler.engine) else {
            let text = "Proton could not make a session"
            return _ = reply.resolve(.failure(AMQPError(condition: .resourceLimitExceeded, detail: text)))
        }
        let endpoint = SessionEndpoint(session, handler: handler)
        do {
            let opened = try endpoint.open(configuration)
            self.limit(endpoint.opened, "the begin", within: timeout) { endpoint.close(nil) }
            reply.resolve(.success(opened))
        } catch {
            endpoint.discard(error)
            reply.resolve(.failure(error))
        }
    }

    /// Attaches a sender; its `attachment` has the peer's answer.
    func openSender(
        on session: SessionEndpoint,
        _ configuration: AMQPSender.Configuration,
        within timeout: Duration? = nil,
        _ reply: Reply<OpenedSender>
    ) {
        self.open(
            on: session,
            configuration.name,
            within: timeout,
            reply,
            make: { $0.makeSender($1) },
            SenderEndpoint.init
        ) {
            endpoint throws(AMQPError) in
            try endpoint.open(configuration)
        }
    }

    /// Attaches a receiver; its `attachment` has the peer's answer.
    func openReceiver(
        on session: SessionEndpoint,
        _ configuration: AMQPReceiver.Configuration,
        within timeout: Duration? = nil,
        _ reply: Reply<OpenedReceiver>
    ) {
        self.open(
            on: session,
            configuration.name,
            within: timeout,
            reply,
            make: { $0.makeReceiver($1) },
            ReceiverEndpoint.init
        ) {
            endpoint throws(AMQPError) in
            try endpoint.open(configuration)
        }
    }

    private func open<Endpoint: LinkEndpoint, Opened: Sendable>(
        on session: SessionEndpoint,
        _ name: String?,
        within timeout: Duration? = nil,
        _ reply: Reply<Opened>,
        make: (borrowing ProtonSession, String) -> ProtonLink?,
        _ wrap: (consuming ProtonLink, SessionEndpoint, String) -> Endpoint,
        _ open: (Endpoint) throws(AMQPError) -> Opened
    ) {
        guard session.isLocallyOpen else {
            return _ = reply.resolve(.failure(self.handler.ended.cause ?? session.status.goneError))
        }
        // A detached link stays in memory until the peer answers. This limits the number of such links.
        guard session.detaching < self.handler.detachLimit else {
            let text = "the peer has not answered the detach of \(session.detaching) links of this session"
            return _ = reply.resolve(.failure(AMQPError(condition: .resourceLimitExceeded, detail: text)))
        }
        // Proton would confuse the answers to two links of the same name. Generated names skip the comparison, because
        // among 4,000 links it costs as much as the rest of the opening.
        let isTaken =
            if let name {
                session.links.values.contains { $0 is Endpoint && $0.status.name.hasSameUTF8(as: name) }
            } else { false }
        let name = name ?? Self.makeLinkName()
        guard !isTaken, !name.isEmpty, !name.utf8.contains(0), let link = make(session.session, name) else {
            return _ = reply.resolve(.failure(.badName(name, isTaken: isTaken)))
        }
        let endpoint = wrap(link, session, name)
        do {
            let opened = try open(endpoint)
            self.limit(endpoint.status.attachment, "the attach", within: timeout) { endpoint.close(nil) }
            reply.resolve(.success(opened))
        } catch {
            endpoint.discard(error)
            reply.resolve(.failure(error))
        }
    }

    private static func makeLinkName() -> String {
        "link-" + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    /// Fails the reply if the peer does not answer in time.
    ///
    /// - Parameter timeout: The time for the peer's answer; `operationTimeout` if `nil`.
    private func limit<Value>(
        _ reply: Reply<Value>,
        _ what: String,
        within timeout: Duration? = nil,
        onTimeout: @escaping () -> Void
    ) {
        guard reply.answer == nil else { return }
        let timeout = timeout ?? self.handler.configuration.operationTimeout
        let timer = LoopTimer(of: self.handler, in: timeout) {
            let error = AMQPError(condition: .timeout, detail: "the peer did not answer \(what) within \(timeout)")
            if reply.resolve(.failure(error)) { onTimeout() }
        }
        reply.whenResolved { _ in timer.cancel() }
    }
}

extension AMQPError {
    static func badName(_ name: String, isTaken: Bool) -> AMQPError {
        let shown = name.debugDescription
        let text =
            if name.isEmpty {
                "the link name is empty: pass a name, or nil for a generated one"
            } else if name.utf8.contains(0) {
                "the link name \(shown) contains a zero byte: remove it"
            } else if isTaken {
                "the link name \(shown) is in use in this session: pass another one, or nil for a generated one"
            } else {
                "the link name \(shown) cannot be used: Proton could not make a link"
            }
        return AMQPError(condition: .invalidArgument, detail: text)
    }
}
