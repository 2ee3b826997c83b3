// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// Session flow state recovered from the frames of both directions, because Proton 0.37 does not expose it.
///
/// Exclusivity checks are off where each access is a single call on a plain value that never re-enters this type.
final class FrameObserver {
    @exclusivity(unchecked) private var input: FrameScanner
    /// The scanner of Proton's output. It presents whole frames, because the observer needs the fields after a long
    /// name or address too.
    @exclusivity(unchecked) var output = FrameScanner(maxSize: Int(UInt32.max))
    let maxFrameSize: UInt32
    /// The largest frame that the peer accepts, in bytes; 512, the smallest limit, until the peer has opened the
    /// connection.
    private(set) var peerMaxFrameSize = 512
    /// Whether the peer has opened the connection.
    private var isOpened = false
    /// Called with the size of an oversized frame of this side, and whether it is an open.
    var onLargeFrame: ((Int, Bool) -> Void)?
    /// The sessions by the peer's channels.
    @exclusivity(unchecked) private(set) var byPeerChannel: [UInt16: PeerSession] = [:]
    /// The session of the last transfer, because most transfers follow a transfer of the same session.
    @exclusivity(unchecked) private var lastPeer: (channel: UInt16, session: PeerSession)?
    /// The sessions by this side's channels.
    @exclusivity(unchecked) private(set) var byLocalChannel: [UInt16: PeerSession] = [:]
    /// The sessions that this side has begun and the peer has not.
    private var begun: [UInt16: FrameHeader.Begin] = [:]
    /// The sessions that the peer has begun, in the order of Proton's events about them.
    private var arrived: Deque<PeerSession> = []
    /// The links that the peer has attached, in the order of Proton's events about them.
    private var attached: Deque<PeerAttach> = []
    /// The frames that this side must send in addition to Proton's.
    @exclusivity(unchecked) var renewals = WindowRenewals()

    /// The numbers of links that the peer and this side have attached.
    private var attachedByPeer = 0
    private var attachedHere = 0
    /// The most unanswered links of the peer, including those that this side has detached again.
    private let openLinks: Int
    /// Whether the peer has opened the connection, and Proton has not answered.
    private var isOpenNew = false
    /// Whether the peer has ended a session or detached a link since Proton's last answer.
    private var hasEnded = false
    /// The sessions that the peer has ended before this side began them.
    private var endedEarly: [PeerSession] = []
    /// Called when this side's open is written.
    var onOpenSent: (() -> Void)?
    private(set) var isOpenSent = false
    /// Whether this side has sent messages with formats other than 0, so that their tags are marked.
    @exclusivity(unchecked) var sendsFormats = false
    /// Whether messages with formats other than 0 have arrived.
    var receivesFormats = false

    /// Called when this side has ended the session on one of its channels, and again when the peer has ended it too.
    /// `isOver` means that both sides have ended it.
    var onEnd: ((_ channel: UInt16, _ isOver: Bool) -> Void)?

    /// Creates an observer of a connection that is not open.
    ///
    /// - Parameters:
    ///   - maxFrameSize: The largest frame that the peer may send.
    ///   - openLinks: The most links that the peer has attached and this side has not.
    init(maxFrameSize: UInt32, openLinks: Int) {
        self.maxFrameSize = maxFrameSize
        self.openLinks = openLinks
        self.input = FrameScanner(maxSize: Int(maxFrameSize))
    }

    /// Returns whether this side has a session on one of its channels, as far as Proton's frames show.
    func isInUse(_ channel: UInt16) -> Bool { self.byLocalChannel[channel] != nil || self.begun[channel] != nil }

    /// Returns the session of Proton's next event about a session that the peer has begun.
    func nextArrived() -> PeerSession? { self.arrived.popFirst() }

    /// Returns the link of Proton's next event about a link that the peer has attached.
    func nextAttached() -> PeerAttach { self.attached.popFirst() ?? PeerAttach() }

    /// The received bytes of an incomplete frame. Proton holds the bytes after the head, and does not report their
    /// number.
    var incompleteBytes: Int { self.input.incomplete }

    /// Reads bytes of the peer before Proton does, up to a frame that Proton must not read, or must read later.
    ///
    /// Proton 0.37 accepts a second begin of the same session from a peer. The session's reference count is then wrong,
    /// and Proton frees memory twice. ``PeerLinks`` checks the links.
    func received(_ bytes: UnsafeRawBufferPointer) -> FrameReading {
        var reading = FrameReading(count: 0)
        reading.count = self.input.walk(bytes) { head in
            if self.isOpenNew {
                self.isOpenNew = false
                return .stop
            }
            let size = FrameHeader.size(head)
            if let (channel, transfer) = FrameHeader.transfer(head) {
                let isMarked = transfer.messageFormat != 0 && self.isFirst(transfer, on: channel)
                reading.violation = self.peerSent(transfer, on: channel, size)
                var edited = transfer.mayNameState ? self.edit(head, &reading.violation) : nil
                guard reading.violation == nil else { return .stop }
                if isMarked { edited = self.mark(edited, head, transfer) }
                return edited.map { .replace($0) } ?? .pass
            }
            var edited = self.edit(head, &reading.violation)
            guard reading.violation == nil else { return .stop }
            guard let frame = edited.map({ $0.withUnsafeBytes { FrameHeader($0) } }) ?? FrameHeader(head) else {
                return edited.map { .replace($0) } ?? .pass
            }
            if self.hasToWait(frame) { return .stop }
            if case .transfer(let channel, let transfer) = frame, transfer.messageFormat != 0,
                self.isFirst(transfer, on: channel)
            {
                edited = self.mark(edited, head, transfer)
            }
            reading.violation = self.peerSent(frame, size)
            guard reading.violation == nil else { return .stop }
            return edited.map { .replace($0) } ?? .pass
        }
        if reading.violation == nil, let size = self.input.badSize {
            let text = "the peer sent a frame of \(size) bytes: 8 to \(self.maxFrameSize) are allowed"
            reading.violation = AMQPError(scope: .connection, condition: .connectionFramingError, detail: text)
        }
        return reading
    }

    /// Returns whether Proton must answer the earlier frames before it reads this frame. A second call for the same
    /// frame returns false.
    ///
    /// Proton writes all begins before all ends, and all attaches before all detaches. It does not answer a begin once
    /// it has read the end.
    private func hasToWait(_ frame: FrameHeader) -> Bool {
        switch frame {
        case .begin, .attach:
            defer { self.hasEnded = false }
            return self.hasEnded
        case .end(let channel):
            guard let session = self.byPeerChannel[channel], session.localChannel == nil, session.endedChannel == nil,
                !session.isEndHeld
            else { return false }
            session.isEndHeld = true
            self.endedEarly.append(session)
            return true
        case .open, .flow, .transfer, .disposition, .detach, .close, .unreadable, .foreign: return false
        }
    }

    /// Begins the sessions that the peer has ended before this side began them.
    func beginEndedEarly() {
        guard !self.endedEarly.isEmpty else { return }
        for session in self.endedEarly { session.onEarlyEnd?() }
        self.endedEarly = []
    }

    /// Passes to `body` the parts of the last received bytes that Proton may see, in order.
    func forEachPart(of bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        // Usually the bytes are unchanged.
        guard self.input.hasChanges else { return body(bytes) }
        self.input.forEachPart(of: bytes, body)
    }

    private func edit(_ head: UnsafeRawBufferPointer, _ violation: inout AMQPError?) -> [UInt8]? {
        do throws(AMQPError) {
            return try IncomingEdits.edit(head, limit: Int(self.maxFrameSize))
        } catch {
            violation = violation ?? error
            return nil
        }
    }

    private func peerSent(_ transfer: FrameHeader.Transfer, on channel: UInt16, _ size: Int) -> AMQPError? {
        if self.lastPeer?.channel != channel { self.lastPeer = self.byPeerChannel[channel].map { (channel, $0) } }
        guard let session = self.lastPeer?.session else { return self.isOpened ? nil : Self.notOpened }
        session.nextIncomingID &+= 1
        if session.incoming?.arrive(size) == true { self.renewals.look(at: session) }
        if session.left < 0, let violation = self.violation(session) { return violation }
        let violation = session.links.transfer(transfer, nextID: session.nextIncomingID)
        if session.nextIncomingID == session.links.wakeID { self.renewals.look(at: session) }
        return violation
    }

    private static var notOpened: AMQPError {
        AMQPError(
            scope: .connection,
            condition: .illegalState,
            detail: "the peer sent a frame before it opened the connection"
        )
    }

    private func peerSent(_ frame: FrameHeader, _ size: Int) -> AMQPError? {
        switch frame {
        case .begin, .attach, .flow, .disposition, .detach, .end:
            if !self.isOpened { return Self.notOpened }
        case .open, .transfer, .close, .unreadable, .foreign: break
        }
        switch frame {
        case .transfer(let channel, let transfer): return self.peerSent(transfer, on: channel, size)
        case .begin(let channel, let begin): return self.peerBegan(channel, begin)
        case .flow(let channel, let flow):
            guard let session = self.byPeerChannel[channel] else { return nil }
            session.window.update(nextIncomingID: flow.nextIncomingID, incomingWindow: flow.incomingWindow)
            if let id = flow.nextOutgoingID, let window = flow.outgoingWindow { session.outgoingWindow = (id, window) }
            session.flows.peerSent(flow)
            if flow.echo { self.renewals.echo(session) }
            session.onChange?()
        case .attach(let channel, let attach):
            guard let session = self.byPeerChannel[channel] else { return nil }
            if let violation = session.links.attach(attach) { return violation }
            session.flows.peerSent(attach)
            let refusal = attach.flaw.map {
                AMQPError(
                    scope: .link,
                    condition: .invalidField,
                    detail: "the \($0) in the peer's attach contains a zero byte"
                )
            }
            self.attached.append(PeerAttach(refusal: refusal, capabilities: attach.capabilities))
            self.attachedByPeer += 1
            guard self.attachedByPeer - self.attachedHere <= self.openLinks else {
                let text = "the peer attached \(self.openLinks + 1) links that are not attached on this side"
                return AMQPError(scope: .connection, condition: .resourceLimitExceeded, detail: text)
            }
        case .disposition(let first, let last):
            guard last &- first > Self.widestDisposition else { return nil }
            let text = "the peer sent a disposition of the deliveries from \(first) to \(last)"
            return AMQPError(scope: .connection, condition: .invalidField, detail: text)
        case .detach(let channel, let handle):
            if self.byPeerChannel[channel]?.links.detach(handle) == true { self.attachedByPeer -= 1 }
            self.byPeerChannel[channel]?.flows.peerDetached(handle)
            self.hasEnded = true
        case .end(let channel):
            self.hasEnded = true
            self.lastPeer = nil
            guard let session = self.byPeerChannel.removeValue(forKey: channel) else { break }
            self.attachedByPeer -= session.links.count
            session.isEndedByPeer = true
            if let own = session.endedChannel { self.onEnd?(own, true) }
        case .open(let open):
            guard !self.isOpened else {
                return AMQPError(
                    scope: .connection,
                    condition: .illegalState,
                    detail: "the peer opened the connection twice"
                )
            }
            if let flaw = open.flaw {
                return AMQPError(
                    scope: .connection,
                    condition: .invalidField,
                    detail: "the \(flaw) in the peer's open contains a zero byte"
                )
            }
            self.isOpened = true
            self.isOpenNew = true
            self.peerMaxFrameSize = max(512, Int(open.maxFrameSize ?? .max))
            if let size = open.maxFrameSize, size < 512 {
                let text = "the peer announced a max-frame-size of \(size) bytes: AMQP requires at least 512"
                return AMQPError(scope: .connection, condition: .invalidField, detail: text)
            }
        case .close: break
        case .foreign(let what):
            return AMQPError(scope: .connection, condition: .connectionFramingError, detail: "the peer sent \(what)")
        case .unreadable(let name):
            let text = "the fields of a performative (\(name)) cannot be read, or contain too deep or too many values"
            return AMQPError(scope: .connection, condition: .decodeError, detail: text)
        }
        return nil
    }

    /// Ends a session whose window the peer has exceeded. Transfers that are already on their way pass.
    private func violation(_ session: PeerSession) -> AMQPError? {
        let text = "the peer sent more transfers than the session's incoming window allows"
        guard let onViolation = session.onViolation, let incoming = session.incoming else {
            return AMQPError(scope: .connection, condition: .sessionWindowViolation, detail: text)
        }
        session.toldLimit &+= incoming.initial &+ 1
        onViolation()
        return nil
    }

    /// Checks the links without arrivals when the next output is written.
    func lookAtIdleLinks() { self.renewals.lookAtIdleLinks(of: self.byLocalChannel.values) }

    /// The largest difference between the last and the first id of a disposition. A range of 2³¹ ids is negative to
    /// Proton, which then searches for each of them.
    private static let widestDisposition: UInt32 = 0x7FFF_FFFE

    func sent(_ transfers: Int, on channel: UInt16) {
        guard transfers > 0 else { return }
        self.byLocalChannel[channel]?.window.sent(transfers)
    }

    /// Records a frame of this side. Returns the window to advertise in the frame; `nil` if the frame carries no
    /// window.
    func sent(_ frame: FrameHeader) -> UInt32? {
        switch frame {
        case .begin(let channel, var begin):
            begin.incomingWindow -= min(UInt32(IncomingWindow.disguise), begin.incomingWindow)
            if let peer = begin.remoteChannel, let session = self.byPeerChannel[peer] {
                session.window = RemoteWindow(
                    initialOutgoingID: begin.nextOutgoingID,
                    incomingWindow: UInt32(clamping: session.window.available)
                )
                session.toldLimit = session.nextIncomingID &+ begin.incomingWindow
                self.join(session, channel)
            } else {
                self.begun[channel] = begin
            }
            return begin.incomingWindow
        case .flow(let channel, let flow):
            guard let session = self.byLocalChannel[channel] else { return self.begun[channel]?.incomingWindow }
            let window = session.tell(session.smallGain)
            session.flows.sent(flow, limit: session.toldLimit)
            self.renewals.told(session)
            // Proton counts a transfer when it is complete, but this type counts it at its head. Counting the window
            // from Proton's id leaves the advertised limit the same.
            guard let id = flow.nextIncomingID else { return window }
            return UInt32(max(0, Int32(bitPattern: session.toldLimit &- id)))
        case .attach(let channel, let attach): self.count(channel) { $0.sent(attach) }
        case .detach(let channel, let handle): self.count(channel) { $0.detached(handle) }
        case .end(let channel):
            guard let session = self.byLocalChannel.removeValue(forKey: channel) else { break }
            self.attachedHere -= session.flows.ownCount
            session.localChannel = nil
            session.endedChannel = channel
            self.onEnd?(channel, session.isEndedByPeer)
        case .open:
            self.isOpenSent = true
            self.onOpenSent?()
        case .transfer, .disposition, .close, .foreign, .unreadable: break
        }
        return nil
    }

    private func count(_ channel: UInt16, _ body: (inout LinkFlows) -> Void) {
        guard let session = self.byLocalChannel[channel] else { return }
        let before = session.flows.ownCount
        body(&session.flows)
        self.attachedHere += session.flows.ownCount - before
    }

    private func join(_ session: PeerSession, _ channel: UInt16) {
        self.byLocalChannel[channel] = session
        session.localChannel = channel
    }

    private func peerBegan(_ channel: UInt16, _ begin: FrameHeader.Begin) -> AMQPError? {
        let isAnswered = begin.remoteChannel.map { self.byLocalChannel[$0] != nil } ?? false
        guard self.byPeerChannel[channel] == nil, !isAnswered else {
            let text = "the peer began a session on channel \(channel), or in answer to one, that is begun already"
            return AMQPError(scope: .connection, condition: .illegalState, detail: text)
        }
        let own = begin.remoteChannel.flatMap { self.begun.removeValue(forKey: $0) }
        let window = RemoteWindow(initialOutgoingID: own?.nextOutgoingID ?? 0, incomingWindow: begin.incomingWindow)
        let session = PeerSession(window, nextIncomingID: begin.nextOutgoingID)
        session.toldLimit &+= own?.incomingWindow ?? 0
        session.outgoingWindow = begin.outgoingWindow.map { (begin.nextOutgoingID, $0) }
        self.byPeerChannel[channel] = session
        if let local = begin.remoteChannel { self.join(session, local) }
        self.arrived.append(session)
        return nil
    }
}
