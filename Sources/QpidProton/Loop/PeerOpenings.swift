// SPDX-License-Identifier: Apache-2.0

internal import Logging

/// The handling of sessions and links that the peer opens. It finds their endpoints, refuses them, or offers them to
/// the application.
struct PeerOpenings {
    let handler: ConnectionHandler

    /// Handles the peer's open of the connection.
    func connectionOpened() {
        let handler = self.handler
        guard
            handler.role == .client || !handler.engine.isLocallyUnopened
                || handler.engine.fitOpen(into: handler.peerFrameSize, handler.logger)
        else {
            let text =
                "the open frame of this container does not fit into the peer's frames of \(handler.peerFrameSize) bytes"
            return handler.fail(AMQPError(scope: .connection, condition: .frameSizeTooSmall, detail: text))
        }
        // Proton would send endless empty frames, because it computes half of 1 ms as 0.
        guard handler.engine.remoteIdleTimeout != 1 else {
            return handler.fail(
                AMQPError(
                    scope: .connection,
                    condition: .invalidField,
                    detail: "the peer's idle-time-out of 1 ms cannot be kept"
                )
            )
        }
        let peer = handler.engine.peer
        handler.frames.renewals.namesLinks = peer.properties[symbol: "product"] != "RabbitMQ"
        handler.sending.setFrameSize(handler.engine.remoteMaxFrameSize)
        handler.logger[.container] = "\(peer.containerID)"
        handler.logger.debug("connection opened")
        if handler.role == .server { handler.engine.open() }
        handler.metrics?.opened()
        handler.opened.resolve(.success(peer))
    }

    func sessionOpened(_ session: ProtonSession.View) {
        let handler = self.handler
        let peer = handler.frames.nextArrived()
        if let known = SessionEndpoint.of(session) { return known.remoteOpened(peer) }
        let endpoint = SessionEndpoint(ProtonSession(session), handler: handler)
        endpoint.remoteOpened(peer)
        // Proton stops sending if a session of this side finds no channel, even if this side refuses the session at
        // once.
        let channels = handler.channels.count
        guard handler.sessions.count <= channels else {
            let text = "the peer began a session, and all \(channels) channels of this side are in use"
            return handler.fail(AMQPError(scope: .connection, condition: .resourceLimitExceeded, detail: text))
        }
        if let refusal = self.refusal { return endpoint.close(refusal) }
        self.offer(.session(endpoint.status))
    }

    func linkOpened(_ link: ProtonLink.View) {
        let attach = self.handler.frames.nextAttached()
        if let known = LinkEndpoint.of(link) {
            known.peerCapabilities = attach.capabilities
            known.session.observe(known)
            if let flaw = attach.refusal { return known.close(flaw) }
            return known.remoteOpened()
        }
        guard let session = SessionEndpoint.of(link.session), session.ended.answer == nil else { return }
        let name = link.name
        if link.isSender {
            let endpoint = SenderEndpoint(ProtonLink(link), session: session, name: name)
            guard self.isWelcome(endpoint, attach) else { return }
            self.offer(.sender(endpoint.status, endpoint.attachOfPeer))
        } else {
            let endpoint = ReceiverEndpoint(ProtonLink(link), session: session, name: name)
            guard self.isWelcome(endpoint, attach) else { return }
            self.offer(.receiver(endpoint.status, endpoint.attachOfPeer))
        }
    }

    /// Returns whether to offer a new link of the peer. Closes the link if not.
    private func isWelcome(_ endpoint: LinkEndpoint, _ attach: PeerAttach) -> Bool {
        endpoint.isOfPeer = true
        endpoint.peerCapabilities = attach.capabilities
        endpoint.session.observe(endpoint)
        guard let refusal = attach.refusal ?? self.linkRefusal else { return true }
        endpoint.close(refusal)
        return false
    }

    /// The error that refuses a peer's session or link without the application; `nil` if the application decides.
    private var refusal: AMQPError? {
        let configuration = self.handler.configuration
        guard configuration.acceptsIncoming else {
            return AMQPError(
                scope: .link,
                condition: .notAllowed,
                detail: "this container accepts no sessions or links of its peers"
            )
        }
        guard self.handler.incoming.count < configuration.incomingLimit else {
            return AMQPError(
                scope: .link,
                condition: .resourceLimitExceeded,
                detail: "too many sessions and links wait to be accepted"
            )
        }
        return nil
    }

    private var linkRefusal: AMQPError? {
        let limit = self.handler.configuration.incomingLinkLimit
        guard self.handler.configuration.acceptsIncoming, self.handler.linksOfPeer > limit else { return self.refusal }
        return AMQPError(
            scope: .link,
            condition: .resourceLimitExceeded,
            detail: "no more than \(limit) links of the peer may be attached"
        )
    }

    private func offer(_ incoming: IncomingRequest) {
        self.handler.incoming.push(contentsOf: [WaitingQueue.Entry(element: incoming, weight: 1, isReported: false)])
    }
}
