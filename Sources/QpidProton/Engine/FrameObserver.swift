internal import DequeModule

/// What the frames of both directions tell of the sessions, which Proton 0.37 does not show.
final class FrameObserver {
    /// One session as the peer sees it.
    final class PeerSession {
        fileprivate(set) var window: RemoteWindow
        /// Called when the peer has changed its window.
        var onChange: (() -> Void)?
        fileprivate var links = PeerLinks()

        fileprivate init(_ window: RemoteWindow) {
            self.window = window
        }
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
            return self.byPeerChannel[channel]?.links.transfer(transfer)
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
                self.byLocalChannel[channel] = session
            } else {
                self.begun[channel] = begin.nextOutgoingID
            }
        case .end(let channel): self.byLocalChannel[channel] = nil
        case .transfer, .flow, .attach, .disposition, .detach, .unreadable: break
        }
    }

    private func peerBegan(_ channel: UInt16, _ begin: TappedFrame.Begin) -> AMQPError? {
        let isAnswered = begin.remoteChannel.map { self.byLocalChannel[$0] != nil } ?? false
        guard self.byPeerChannel[channel] == nil, !isAnswered else {
            let text = "the peer began a session on channel \(channel), or in answer to one, that is begun already"
            return AMQPError(.connection, .illegalState, text)
        }
        let initial = begin.remoteChannel.flatMap { self.begun.removeValue(forKey: $0) } ?? 0
        let session = PeerSession(RemoteWindow(initialOutgoingID: initial, incomingWindow: begin.incomingWindow))
        self.byPeerChannel[channel] = session
        if let local = begin.remoteChannel { self.byLocalChannel[local] = session }
        self.arrived.append(session)
        return nil
    }
}
