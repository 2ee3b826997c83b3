internal import DequeModule
internal import NIOCore

/// What the frames of both directions tell of the sessions, which Proton 0.37 does not show.
final class FrameObserver {
    /// One session as the peer sees it.
    final class PeerSession {
        fileprivate(set) var window: RemoteWindow
        /// Called when the peer has changed its window.
        var onChange: (() -> Void)?
        /// How this side's incoming window is renewed; nil until the session is begun here.
        var renewal: WindowRenewal?
        /// A receiver of the session is ending: see ``SessionEndpoint/settleWindow()``.
        var isRenewalHeld = false
        /// The peer has been told a window that Proton does not know of.
        fileprivate(set) var isRenewed = false
        /// The id that the next transfer of the peer has.
        fileprivate(set) var nextIncomingID: UInt32
        /// The transfers of the peer since it was last told this side's window.
        fileprivate var arrived = 0
        fileprivate var localChannel: UInt16?
        fileprivate var links = PeerLinks()

        fileprivate init(_ window: RemoteWindow, nextIncomingID: UInt32) {
            self.window = window
            self.nextIncomingID = nextIncomingID
        }

        fileprivate var isDue: Bool { self.renewal.map { self.arrived >= $0.quarter } ?? false }
    }

    private var input = FrameTap()
    private var output = FrameTap()
    /// By the channel on which the peer sends.
    private var byPeerChannel: [UInt16: PeerSession] = [:]
    /// By the channel on which this side sends.
    private var byLocalChannel: [UInt16: PeerSession] = [:]
    /// The first id of sessions that this side has begun and the peer has not.
    private var begun: [UInt16: UInt32] = [:]
    /// Sessions that the peer has begun, for Proton's events of them, which come in the same order.
    private var arrived: Deque<PeerSession> = []
    /// Sessions of whose window the peer has used a quarter.
    private var due: [PeerSession] = []

    /// The session that belongs to the next event of a session that the peer has opened.
    func nextArrived() -> PeerSession? { self.arrived.popFirst() }

    /// Returns what the peer did wrong that Proton must not see.
    ///
    /// Proton 0.37 lets a peer begin a session twice: its count of who refers to the session is then wrong, and it frees
    /// memory twice. See ``PeerLinks`` for the links.
    func received(_ bytes: UnsafeRawBufferPointer) -> AMQPError? {
        var violation: AMQPError?
        self.input.consume(bytes) { head in
            if violation == nil, let frame = TappedFrame(head) { violation = self.peerSent(frame) }
        }
        return violation
    }

    private func peerSent(_ frame: TappedFrame) -> AMQPError? {
        switch frame {
        case .transfer(let channel, let transfer):
            guard let session = self.byPeerChannel[channel] else { return nil }
            session.nextIncomingID &+= 1
            session.arrived += 1
            if session.arrived == session.renewal?.quarter { self.due.append(session) }
            return session.links.transfer(transfer)
        case .begin(let channel, let begin): return self.peerBegan(channel, begin)
        case .flow(let channel, let flow):
            guard let session = self.byPeerChannel[channel] else { return nil }
            session.window.update(nextIncomingID: flow.nextIncomingID, incomingWindow: flow.incomingWindow)
            session.onChange?()
        case .attach(let channel, let handle, let isReceiver):
            return self.byPeerChannel[channel]?.links.attach(handle, isReceiver: isReceiver)
        case .disposition(let first, let last):
            guard last &- first > Self.widestDisposition else { return nil }
            let text = "the peer sent a disposition of the deliveries from \(first) to \(last)"
            return AMQPError(.connection, .invalidField, text)
        case .detach(let channel, let handle): self.byPeerChannel[channel]?.links.detach(handle)
        case .end(let channel): self.byPeerChannel[channel] = nil
        case .unreadable(let name):
            return AMQPError(.connection, .decodeError, "the peer sent a \(name) whose fields cannot be read")
        }
        return nil
    }

    /// A range of 2³¹ ids is negative to Proton, which then looks for each of them.
    private static let widestDisposition: UInt32 = 0x7FFF_FFFE

    func sent(_ bytes: UnsafeRawBufferPointer) {
        // Most frames are transfers, in runs on one channel.
        var run = (channel: UInt16.max, transfers: 0)
        self.output.consume(bytes) { head in
            if let channel = TappedFrame.channelOfTransfer(head) {
                if channel != run.channel {
                    self.sent(run.transfers, on: run.channel)
                    run = (channel, 0)
                }
                run.transfers += 1
            } else if let frame = TappedFrame(head) {
                self.sent(run.transfers, on: run.channel)
                run.transfers = 0
                self.sent(frame)
            }
        }
        self.sent(run.transfers, on: run.channel)
    }

    private func sent(_ transfers: Int, on channel: UInt16) {
        guard transfers > 0 else { return }
        self.byLocalChannel[channel]?.window.sent(transfers)
    }

    private func sent(_ frame: TappedFrame) {
        switch frame {
        case .begin(let channel, let begin):
            if let peer = begin.remoteChannel, let session = self.byPeerChannel[peer] {
                session.window = RemoteWindow(
                    initialOutgoingID: begin.nextOutgoingID,
                    incomingWindow: UInt32(clamping: session.window.available)
                )
                self.join(session, channel)
            } else {
                self.begun[channel] = begin.nextOutgoingID
            }
        case .flow(let channel, _):
            self.byLocalChannel[channel]?.arrived = 0
            self.byLocalChannel[channel]?.isRenewed = false
        case .end(let channel): self.byLocalChannel.removeValue(forKey: channel)?.localChannel = nil
        case .transfer, .attach, .disposition, .detach, .unreadable: break
        }
    }

    private func join(_ session: PeerSession, _ channel: UInt16) {
        self.byLocalChannel[channel] = session
        session.localChannel = channel
    }

    /// Gives the frames that renew the windows of which the peer has used a quarter.
    ///
    /// Proton 0.37 renews a window when it is used up: a peer far away then stands still for a round trip.
    func renewals(_ body: (ByteBuffer) -> Void) {
        guard !self.due.isEmpty else { return }
        for session in self.due where session.isDue {
            guard !session.isRenewalHeld, let channel = session.localChannel, let renewal = session.renewal else {
                continue
            }
            session.arrived = 0
            session.isRenewed = true
            body(
                renewal.frame(
                    channel: channel,
                    nextIncomingID: session.nextIncomingID,
                    nextOutgoingID: session.window.nextOutgoingID
                )
            )
        }
        self.due.removeAll(keepingCapacity: true)
    }

    private func peerBegan(_ channel: UInt16, _ begin: TappedFrame.Begin) -> AMQPError? {
        let isAnswered = begin.remoteChannel.map { self.byLocalChannel[$0] != nil } ?? false
        guard self.byPeerChannel[channel] == nil, !isAnswered else {
            let text = "the peer began a session on channel \(channel), or in answer to one, that is begun already"
            return AMQPError(.connection, .illegalState, text)
        }
        let initial = begin.remoteChannel.flatMap { self.begun.removeValue(forKey: $0) } ?? 0
        let window = RemoteWindow(initialOutgoingID: initial, incomingWindow: begin.incomingWindow)
        let session = PeerSession(window, nextIncomingID: begin.nextOutgoingID)
        self.byPeerChannel[channel] = session
        if let local = begin.remoteChannel { self.join(session, local) }
        self.arrived.append(session)
        return nil
    }
}
