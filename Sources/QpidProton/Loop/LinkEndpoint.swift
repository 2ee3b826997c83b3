// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import Synchronization

/// The loop's side of a link: the common part of senders and receivers. Used on the event loop only.
class LinkEndpoint {
    /// The link in Proton. Exclusivity checks are off, because each access is one call of Proton.
    @exclusivity(unchecked) final private(set) var link: ProtonLink
    let session: SessionEndpoint
    let status: LinkStatus
    /// The phase of the link's life. Exclusivity checks are off, because a change calls only the observer below.
    @exclusivity(unchecked) final private(set) var phase = LinkPhase.open {
        didSet { self.session.detaching += (self.phase.isDetaching ? 1 : 0) - (oldValue.isDetaching ? 1 : 0) }
    }

    /// Whether the peer has attached the link on its own.
    var isOfPeer = false {
        didSet { self.handler.linksOfPeer += (self.isOfPeer ? 1 : 0) - (oldValue ? 1 : 0) }
    }

    /// The capabilities in the peer's attach.
    var peerCapabilities = LinkCapabilities()

    /// The number of the link on its connection, which is unique.
    let number: UInt64
    /// The time and cause of each block.
    @exclusivity(unchecked) var blocks = BlockClock()
    /// The metrics of the link; `nil` if none are reported.
    @exclusivity(unchecked) final var meter: LinkMeter?
    /// The number of the link's steps of progress so far.
    var steps = 0

    var handler: ConnectionHandler { self.session.handler }
    /// Whether the link has been freed, so that `link` is empty.
    @inline(__always) final var isDone: Bool { self.phase.isDone }
    /// Whether the link has ended on this side.
    final var hasEnded: Bool { !self.phase.isOpen }
    /// Whether the peer has detached, with or without an error.
    final var isEndedByPeer: Bool { self.phase.isEndedByPeer }
    /// Whether the session or the connection has ended or is closing, and the link with it.
    final var isAbandoned: Bool { self.phase.isAbandoned }
    var isLocallyOpen: Bool { self.phase.isOpen && self.link.isLocallyActive }
    /// Whether both sides have attached, so that Proton sends flows for the link.
    var isAttached: Bool {
        self.isLocallyOpen && self.link.isRemotelyActive
    }
    var isRemotelyClosed: Bool { !self.isDone && self.link.isRemotelyClosed }

    init(_ link: consuming ProtonLink, session: SessionEndpoint, name: String) {
        self.link = link
        self.session = session
        let key = LinkKey(session: session.status.key, link: session.links.nextKey)
        self.status = LinkStatus(name: name, key: key)
        session.handler.linkCount += 1
        self.number = session.handler.linkCount
        _ = session.links.insert(self)
        self.link.setContext(self)
    }

    /// Returns the endpoint of a link that has not been freed.
    static func of(_ link: ProtonLink.View) -> LinkEndpoint? {
        link.context(as: LinkEndpoint.self)
    }

    // MARK: Differences of senders and receivers

    /// Handles a flow: the peer has granted or drained credit, or the link has made progress.
    func flowed() {}
    /// The figures of this kind of link in a snapshot, in addition to the common figures.
    var figures: LinkFigures { LinkFigures() }
    /// Handles the change of a delivery.
    func delivered(_ delivery: ProtonDelivery) {}
    /// Answers all waiting calls of an ended link, before its deliveries are freed.
    func end(_ error: AMQPError?) {}
    /// Whether the peer's attach has the terminus of the peer's side. Without this terminus, the attach refuses the
    /// link.
    var hasRemoteTerminus: Bool { true }

    // MARK: Opening

    /// Applies the peer's attach.
    func remoteOpened() {
        // A refusal is an attach without a terminus, followed by a detach with the reason.
        guard self.hasRemoteTerminus else { return }
        if self.isLocallyOpen { self.attach() }
    }

    /// Answers the openers of the link with the peer's attach. Closes the link if no opener waits any more.
    func attach() {
        self.handler.logger.debug("link attached", metadata: self.logMetadata())
        self.meter?.open()
        let attachment = LinkStatus.Attachment(
            source: self.link.remoteSource ?? AMQPSource(),
            target: self.link.remoteTarget ?? AMQPTarget(),
            properties: self.link.remoteProperties,
            capabilities: self.peerCapabilities,
            maxMessageSize: self.link.remoteMaxMessageSize,
            senderSettleMode: self.link.remoteSenderSettleMode,
            receiverSettleMode: self.link.remoteReceiverSettleMode
        )
        if !self.status.attachment.resolve(.success(attachment)), case .failure = self.status.attachment.answer {
            self.close(nil)
        }
    }

    // MARK: Closing

    /// Closes or detaches the link from this side. The reply `detached` of the status receives the peer's answer.
    func close(_ error: AMQPError?, detach: Bool = false) {
        guard !self.isDone, !self.link.isLocallyClosed else { return }
        self.endLocally(.close, error, .link(by: .local, detach ? .detached : .closed))
        if let error { self.link.setError(error.fitted(to: self.handler.peerFrameSize)) }
        self.session.whenBegun {
            guard !self.isDone, self.closeInProton(detach: detach, refuses: true) else { return }
            if self.isRemotelyClosed { self.finish(nil) } else if !self.isOfPeer { self.phase.take(.detach) }
        }
    }

    /// Closes or detaches the link in Proton. Returns false if the link has ended with its session instead.
    private func closeInProton(detach: Bool, refuses: Bool) -> Bool {
        // To refuse a link that it has not opened, this side first attaches it, without its own terminus.
        if self.link.isLocallyUnopened {
            if refuses { self.link.clearOwnTerminus() }
            guard self.openToClose() else { return false }
        }
        if detach { self.link.detach() } else { self.link.close() }
        return true
    }

    func remoteClosed(detach: Bool) {
        // A peer that detaches its own link does not refuse a link of this side.
        let isRefused = self.status.attachment.answer == nil && !self.isOfPeer
        let ending: AMQPError.Ending = isRefused ? .refused : detach ? .detached : .closed
        let error = self.link.remoteError(ending)
        self.handler.logger.debug(
            "link closed by the peer",
            metadata: self.logMetadata(error: error)
        )
        if !self.link.isLocallyClosed {
            self.endLocally(.peerDetach, error, .link(by: .peer, ending))
            self.handler.isEndWaiting = true
            return self.session.whenBegun {
                guard !self.isDone, self.closeInProton(detach: detach, refuses: false) else { return }
                self.finish(error)
            }
        }
        self.phase.take(.peerDetach)
        self.finish(error)
    }

    /// Ends the link together with its session or connection.
    ///
    /// - Parameters:
    ///   - error: The error that ended the session or connection; `nil` for an orderly end.
    ///   - cause: The same error, or a description of the orderly end.
    func abandon(_ error: AMQPError?, _ cause: AMQPError) {
        guard !self.isDone else { return }
        self.endLocally(.abandon, error, .withAll(cause))
        self.link.abandon()
        // The peer's answer to an end of this side also answers the link's end.
        if error == nil, cause.origin == .local {
            let detached = self.status.detached
            self.session.closed.whenResolved { detached.resolve($0) }
            self.release(nil)
        } else {
            self.release(.failure(cause))
        }
    }

    /// Stores the figures of the link for a snapshot after its end.
    private func keepFigures() {
        let snapshot = self.snapshot(at: self.handler.now)
        self.status.lastSnapshot.withLock { $0 = snapshot }
    }

    /// The current figures of the link, or its figures at the end on this side.
    var lastSnapshot: AMQPLinkSnapshot {
        self.status.lastSnapshot.withLock { $0 } ?? self.snapshot(at: self.handler.now)
    }

    /// Frees a link whose opening failed on this side.
    func discard(_ error: AMQPError) {
        self.endLocally(.close, error, .link(by: .local, .closed))
        self.finish(error)
    }

    private func endLocally(_ event: LinkPhase.Event, _ error: AMQPError?, _ end: LinkStatus.End) {
        let wasOpen = self.phase.isOpen
        if wasOpen { self.keepFigures() }
        self.phase.take(event)
        guard wasOpen else { return }
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
        self.link.free()
        self.session.links.remove(self.status.key.link)
    }

    private func release(_ answer: Result<Void, AMQPError>?) {
        self.phase.take(.free)
        self.isOfPeer = false
        if let answer { self.status.detached.resolve(answer) }
    }
}
