internal import Logging
internal import NIOCore

extension ConnectionHandler {
    /// Acts on everything that Proton has to tell. Returns whether Proton may have been told something in turn.
    @discardableResult
    func processEvents() -> Bool {
        var wasAny = false
        while !self.isDead, let event = self.engine.nextEvent() {
            switch event {
            case .delivery(let delivery, let link):
                if let endpoint = LinkEndpoint.of(link) { endpoint.delivered(delivery) } else { link.dropAll() }
            case .linkFlow(let link):
                let isSender = link.isSender
                LinkEndpoint.of(link)?.flowed()
                // Proton tells of each transfer that it has written as of a flow. A sender answers drains alone.
                if isSender { continue }
            case .linkRemoteOpen(let link): self.linkOpened(link)
            case .linkRemoteClose(let link): LinkEndpoint.of(link)?.remoteClosed(detach: false)
            case .linkRemoteDetach(let link): LinkEndpoint.of(link)?.remoteClosed(detach: true)
            case .sessionRemoteOpen(let session): self.sessionOpened(session)
            case .sessionRemoteClose(let session): SessionEndpoint.of(session)?.remoteClosed()
            case .connectionRemoteOpen: self.connectionOpened()
            case .connectionRemoteClose: self.remoteClosed()
            case .transportError:
                if let error = self.transportError { self.end(error, error) }
            case .transportClosed: break
            }
            wasAny = true
        }
        guard !self.arrivedReceivers.isEmpty else { return wasAny }
        for receiver in self.arrivedReceivers { receiver.flushArrived() }
        self.arrivedReceivers.removeAll(keepingCapacity: true)
        return true
    }

    private func connectionOpened() {
        guard self.fitOpen() else {
            let text =
                "the open frame of this container does not fit into the peer's frames of \(self.peerFrameSize) bytes"
            return self.fail(AMQPError(scope: .connection, condition: .frameSizeTooSmall, detail: text))
        }
        // Proton would send empty frames without end: half of it is no time.
        guard self.engine.remoteIdleTimeout != 1 else {
            return self.fail(
                AMQPError(
                    scope: .connection,
                    condition: .invalidField,
                    detail: "the peer's idle-time-out of 1 ms cannot be kept"
                )
            )
        }
        let peer = self.engine.peer
        self.frames.namesLinks = peer.properties[symbol: "product"] != "RabbitMQ"
        let overhead = 64 + (self.hasChosen ? Self.chosenTagRoom : 0)
        self.transferPayload = max(256, Int(min(self.engine.remoteMaxFrameSize, 1 << 24)) - overhead)
        self.logger[.container] = "\(peer.containerID)"
        self.logger.debug("connection opened")
        if self.role == .server { self.engine.open() }
        self.metrics?.opened()
        self.opened.resolve(.success(peer))
    }

    private func sessionOpened(_ session: ProtonSession.View) {
        let peer = self.frames.nextArrived()
        if let known = SessionEndpoint.of(session) { return known.remoteOpened(peer) }
        let endpoint = SessionEndpoint(ProtonSession(session), handler: self)
        endpoint.remoteOpened(peer)
        // Proton falls silent when a session of this side finds no channel, be it begun to be refused.
        let channels = self.channels
        guard self.sessions.count <= channels else {
            let text = "the peer began a session, and all \(channels) channels of this side are in use"
            return self.fail(AMQPError(scope: .connection, condition: .resourceLimitExceeded, detail: text))
        }
        if let refusal = self.refusal { return endpoint.close(refusal) }
        self.offer(.session(endpoint.status))
    }

    private func linkOpened(_ link: ProtonLink.View) {
        let attach = self.frames.nextAttached()
        let flaw = attach.refusal
        if let known = LinkEndpoint.of(link) {
            known.peerCapabilities = attach.capabilities
            known.session.observe(known)
            if let flaw { return known.close(flaw) }
            return known.remoteOpened()
        }
        guard let session = SessionEndpoint.of(link.session), session.ended.answer == nil else { return }
        let name = link.name
        if link.isSender {
            let endpoint = SenderEndpoint(ProtonLink(link), session: session, name: name)
            endpoint.isOfPeer = true
            endpoint.peerCapabilities = attach.capabilities
            session.observe(endpoint)
            if let refusal = flaw ?? self.linkRefusal { return endpoint.close(refusal) }
            self.offer(.sender(endpoint.status, endpoint.attachOfPeer))
        } else {
            let endpoint = ReceiverEndpoint(ProtonLink(link), session: session, name: name)
            endpoint.isOfPeer = true
            endpoint.peerCapabilities = attach.capabilities
            session.observe(endpoint)
            if let refusal = flaw ?? self.linkRefusal { return endpoint.close(refusal) }
            self.offer(.receiver(endpoint.status, endpoint.attachOfPeer))
        }
    }

    /// Why a session or link of the peer is refused without asking the application; nil when it is to be asked.
    private var refusal: AMQPError? {
        guard self.configuration.acceptsIncoming else {
            return AMQPError(
                scope: .link,
                condition: .notAllowed,
                detail: "this container takes no sessions or links from its peers"
            )
        }
        guard self.incoming.count < self.configuration.incomingLimit else {
            return AMQPError(
                scope: .link,
                condition: .resourceLimitExceeded,
                detail: "too many sessions and links wait to be accepted"
            )
        }
        return nil
    }

    private var linkRefusal: AMQPError? {
        let limit = self.configuration.incomingLinkLimit
        guard self.configuration.acceptsIncoming, self.linksOfPeer > limit else { return self.refusal }
        return AMQPError(
            scope: .link,
            condition: .resourceLimitExceeded,
            detail: "no more than \(limit) links of the peer may be attached"
        )
    }

    private func offer(_ incoming: IncomingRequest) {
        self.incoming.push(contentsOf: [WaitingQueue.Entry(element: incoming, weight: 1, isReported: false)])
    }
}
