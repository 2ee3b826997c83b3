internal import DequeModule

/// What the frames of both directions tell of the sessions, which Proton 0.37 does not show.
final class FrameObserver {
    /// One session as the peer sees it.
    final class PeerSession {
        fileprivate(set) var window: RemoteWindow
        /// Called when the peer has changed its window.
        var onChange: (() -> Void)?

        fileprivate init(_ window: RemoteWindow) {
            self.window = window
        }
    }

    private var input = FrameTap()
    private var guardian = FrameGuard()
    private var output = FrameTap()
    /// By the channel on which the peer sends.
    private var byPeerChannel: [UInt16: PeerSession] = [:]
    /// By the channel on which this side sends.
    private var byLocalChannel: [UInt16: PeerSession] = [:]
    /// The first id of sessions that this side has begun and the peer has not.
    private var begun: [UInt16: UInt32] = [:]
    /// Sessions that the peer has begun, for Proton's events of them, which come in the same order.
    private var arrived: Deque<PeerSession> = []
    private var lastSent: (channel: UInt16, session: PeerSession)?

    /// The session that belongs to the next event of a session that the peer has opened.
    func nextArrived() -> PeerSession? { self.arrived.popFirst() }

    /// Looks at bytes of the peer before Proton reads them. Returns why they must not reach it.
    func received(_ bytes: UnsafeRawBufferPointer) -> AMQPError? {
        var refusal: AMQPError?
        self.input.consume(bytes) { head in
            refusal = refusal ?? self.guardian.check(head)
            switch TappedFrame(head) {
            case .begin(let channel, let begin): self.peerBegan(channel, begin)
            case .flow(let channel, let flow):
                guard let session = self.byPeerChannel[channel] else { return }
                session.window.update(nextIncomingID: flow.nextIncomingID, incomingWindow: flow.incomingWindow)
                session.onChange?()
            case .end(let channel): self.byPeerChannel[channel] = nil
            case .transfer, nil: break
            }
        }
        return refusal
    }

    func sent(_ bytes: UnsafeRawBufferPointer) {
        self.output.consume(bytes) { head in
            switch TappedFrame(head) {
            case .transfer(let channel): self.session(sendingOn: channel)?.window.sent()
            case .begin(let channel, let begin):
                if let peer = begin.remoteChannel, let session = self.byPeerChannel[peer] {
                    let window = session.window
                    session.window = RemoteWindow(
                        initialOutgoingID: begin.nextOutgoingID,
                        incomingWindow: UInt32(clamping: window.available)
                    )
                    self.byLocalChannel[channel] = session
                } else {
                    self.begun[channel] = begin.nextOutgoingID
                }
            case .end(let channel):
                self.byLocalChannel[channel] = nil
                self.lastSent = nil
            case .flow, nil: break
            }
        }
    }

    private func session(sendingOn channel: UInt16) -> PeerSession? {
        if let last = self.lastSent, last.channel == channel { return last.session }
        guard let session = self.byLocalChannel[channel] else { return nil }
        self.lastSent = (channel, session)
        return session
    }

    private func peerBegan(_ channel: UInt16, _ begin: TappedFrame.Begin) {
        let initial = begin.remoteChannel.flatMap { self.begun.removeValue(forKey: $0) } ?? 0
        let session = PeerSession(RemoteWindow(initialOutgoingID: initial, incomingWindow: begin.incomingWindow))
        self.byPeerChannel[channel] = session
        if let local = begin.remoteChannel { self.byLocalChannel[local] = session }
        self.arrived.append(session)
    }
}
