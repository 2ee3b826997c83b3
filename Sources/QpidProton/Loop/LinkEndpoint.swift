internal import CProton
internal import Logging
internal import Synchronization

/// The loop's side of a link: what senders and receivers share. It is used on the event loop alone.
class LinkEndpoint {
    let link: OpaquePointer
    let session: SessionEndpoint
    let status: LinkStatus
    /// The link has been freed, and `link` must not be touched.
    private(set) var isDone = false
    /// The link has ended on this side.
    private(set) var hasEnded = false
    /// The peer has detached, in order or with an error.
    private(set) var isEndedByPeer = false
    /// The session or the connection is gone, or closing, and the link with it.
    private(set) var isAbandoned = false

    /// The peer has attached it of itself.
    var isOfPeer = false {
        didSet { self.handler.linksOfPeer += (self.isOfPeer ? 1 : 0) - (oldValue ? 1 : 0) }
    }

    /// What the peer's attach offers and desires.
    var peerCapabilities = LinkCapabilities()

    /// This side has detached, and the peer has not answered.
    private var isDetaching = false {
        didSet { self.session.detaching += (self.isDetaching ? 1 : 0) - (oldValue ? 1 : 0) }
    }

    /// The number of the link on its connection, which no other gets.
    let number: UInt64
    /// How long the link was kept from moving, and by what.
    @exclusivity(unchecked) var blocks = BlockClock()
    /// Nil where nothing is reported.
    @exclusivity(unchecked) final var meter: LinkMeter?
    /// Counts everything that moves.
    var steps = 0

    var handler: ConnectionHandler { self.session.handler }
    var isLocallyOpen: Bool {
        // Proton leaves a link that was detached, and not closed, in the active state.
        !self.isDone && !self.hasEnded && pn_link_state(self.link) & PN_LOCAL_ACTIVE != 0
    }
    /// Attached from both sides, so that Proton sends flows of it.
    var isAttached: Bool {
        self.isLocallyOpen && pn_link_state(self.link) & PN_REMOTE_ACTIVE != 0
    }
    var isRemotelyClosed: Bool { !self.isDone && pn_link_state(self.link) & PN_REMOTE_CLOSED != 0 }

    init(_ link: OpaquePointer, session: SessionEndpoint, name: String) {
        self.link = link
        self.session = session
        let key = LinkKey(session: session.status.key, link: session.links.nextKey)
        self.status = LinkStatus(name: name, key: key)
        self.number = session.handler.makeLinkNumber()
        pn_link_set_context(link, Unmanaged.passUnretained(self).toOpaque())
        _ = session.links.insert(self)
    }

    /// The endpoint of a link that has not been freed.
    static func of(_ link: OpaquePointer) -> LinkEndpoint? {
        pn_link_get_context(link).map { Unmanaged<LinkEndpoint>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: What senders and receivers do differently

    /// The peer granted credit, drained it, or the link has moved on.
    func flowed() {}
    /// What a snapshot of the link shows beside what all links have.
    var figures: LinkFigures { LinkFigures() }
    /// A delivery changed.
    func delivered(_ delivery: OpaquePointer) {}
    /// The link is of no more use: answer all that wait, before its deliveries are freed.
    func end(_ error: AMQPError?) {}
    /// Whether the peer's attach carries the terminus without which it refuses the link.
    var hasRemoteTerminus: Bool { true }

    // MARK: Opening

    /// Takes what the peer's attach says.
    func remoteOpened() {
        // A refusal is an attach without a terminus, and a detach with the reason behind it.
        guard self.hasRemoteTerminus else { return }
        if self.isLocallyOpen { self.attach() }
    }

    /// Gives those who opened the link what the peer answered; closes it when none of them waits any more.
    func attach() {
        self.handler.logger.debug("link attached", metadata: self.logMetadata())
        self.meter?.open()
        let attachment = LinkStatus.Attachment(
            source: ProtonTerminus.source(pn_link_remote_source(self.link)) ?? AMQPSource(),
            target: ProtonTerminus.target(pn_link_remote_target(self.link)) ?? AMQPTarget(),
            properties: ProtonData.map(pn_link_remote_properties(self.link)),
            capabilities: self.peerCapabilities,
            maxMessageSize: pn_link_remote_max_message_size(self.link),
            senderSettleMode: ProtonSettleMode.sender(pn_link_remote_snd_settle_mode(self.link)),
            receiverSettleMode: ProtonSettleMode.receiver(pn_link_remote_rcv_settle_mode(self.link))
        )
        if !self.status.attachment.resolve(.success(attachment)), case .failure = self.status.attachment.answer {
            self.close(nil)
        }
    }

    // MARK: Closing

    /// Closes or detaches from this side. The status' `detached` tells when the peer has answered.
    func close(_ error: AMQPError?, detach: Bool = false) {
        guard !self.isDone, pn_link_state(self.link) & PN_LOCAL_CLOSED == 0 else { return }
        self.endLocally(error, .link(by: .local, detach ? .detached : .closed))
        if let error { ProtonCondition.set(pn_link_condition(self.link), error.fitted(to: self.handler.peerFrameSize)) }
        self.session.whenBegun {
            guard !self.isDone, self.closeInProton(detach: detach, refuses: true) else { return }
            if self.isRemotelyClosed { self.finish(nil) } else { self.isDetaching = !self.isOfPeer }
        }
    }

    /// Returns whether the link was closed; if not, it is gone with its session.
    private func closeInProton(detach: Bool, refuses: Bool) -> Bool {
        // A link that was never opened here must be attached before it can be refused, without a terminus of this side.
        if pn_link_state(self.link) & PN_LOCAL_UNINIT != 0 {
            if refuses {
                let own = pn_link_is_sender(self.link) ? pn_link_source(self.link) : pn_link_target(self.link)
                pn_terminus_set_type(own, PN_UNSPECIFIED)
            }
            guard self.openToClose() else { return false }
        }
        if detach { pn_link_detach(self.link) } else { pn_link_close(self.link) }
        return true
    }

    func remoteClosed(detach: Bool) {
        // A peer that gives up a link of its own refuses nothing.
        let isRefused = self.status.attachment.answer == nil && !self.isOfPeer
        let ending: AMQPError.Ending = isRefused ? .refused : detach ? .detached : .closed
        let error = ProtonCondition.get(pn_link_remote_condition(self.link), .link, ending)
        self.handler.logger.debug(
            "link closed by the peer",
            metadata: self.logMetadata(error: error)
        )
        self.isEndedByPeer = true
        if pn_link_state(self.link) & PN_LOCAL_CLOSED == 0 {
            self.endLocally(error, .link(by: .peer, ending))
            self.handler.isEndWaiting = true
            return self.session.whenBegun {
                guard !self.isDone, self.closeInProton(detach: detach, refuses: false) else { return }
                self.finish(error)
            }
        }
        self.finish(error)
    }

    /// The session or the connection has ended, and the link with it.
    ///
    /// - Parameters:
    ///   - error: The error that ended it; nil for an orderly end.
    ///   - cause: The same, or a description of the orderly end.
    func abandon(_ error: AMQPError?, _ cause: AMQPError) {
        guard !self.isDone else { return }
        self.isAbandoned = true
        self.endLocally(error, .withAll(cause))
        pn_link_set_context(self.link, nil)
        // The peer's answer to an orderly end of this side is the answer to the link's end too.
        if error == nil, cause.origin == .local {
            let detached = self.status.detached
            self.session.closed.whenResolved { detached.resolve($0) }
            self.release(nil)
        } else {
            self.release(.failure(cause))
        }
    }

    /// Frees a link whose opening failed on this side.
    func discard(_ error: AMQPError) {
        self.endLocally(error)
        self.finish(error)
    }

    private func endLocally(_ error: AMQPError?, _ end: LinkStatus.End = .link(by: .local, .closed)) {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        self.status.ended.resolve(error.map { .failure($0) } ?? .success(end))
        let refusal = error ?? self.status.closedError(end)
        self.status.attachment.resolve(.failure(refusal))
        self.status.deliveryLimit.end(refusal)
        self.note(nil)
        self.end(error)
        self.status.credit.store(0, ordering: .relaxed)
        self.meter?.end(error, self)
    }

    private func finish(_ error: AMQPError?) {
        self.release(error.map { .failure($0) } ?? .success(()))
        pn_link_set_context(self.link, nil)
        pn_link_free(self.link)
        self.session.links.remove(self.status.key.link)
    }

    private func release(_ answer: Result<Void, AMQPError>?) {
        self.isDone = true
        self.isOfPeer = false
        self.isDetaching = false
        if let answer { self.status.detached.resolve(answer) }
    }
}
