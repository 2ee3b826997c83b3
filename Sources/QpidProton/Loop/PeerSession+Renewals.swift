// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// The flows that the library writes itself: renewals of the sessions' windows, and answers to echoes.
//
// A flow of the session alone opens the window, but does not wake the links of every peer. Proton raises PN_LINK_FLOW
// only for a flow that names a link, and a router that resumes on this event would never resume. So renewals name
// links, except to RabbitMQ. RabbitMQ resumes all links at any flow, and ends a session whose flow names a link that it
// has just detached.

extension PeerSession {
    /// The most links named in one output.
    static let mostNamed = 16
    /// The interval between two flows of a link without arrivals, in nanoseconds.
    static let idlePause: Int64 = 1_000_000_000

    /// Renews the window if the gain is worth a frame, and names the links that may wait for the window.
    ///
    /// A renewal names receiving links of this side, because the window blocks their senders. It names the next active
    /// link in turn, and links with an incomplete message first. It always names a link whose last advertised window is
    /// used up, because this link may have stopped there. It names a link with credit and without arrivals only after a
    /// closed window, or with ``FrameObserver/lookAtIdleLinks()``.
    ///
    /// - Parameters:
    ///   - now: The time of the loop's clock, in nanoseconds.
    ///   - namesLinks: Whether the flows may name links.
    /// - Returns: Whether links remain to be named with the next output.
    func renew(at now: Int64, namesLinks: Bool, _ body: (ByteBuffer) -> Void) -> Bool {
        let looksAtIdle = self.isIdleLookDue
        self.isIdleLookDue = false
        guard let channel = self.localChannel, let incoming = self.incoming else { return false }
        let wasClosed = self.left <= 0
        let gain = incoming.gain(left: self.left, free: self.freeBytes())
        // A link named during a closed window would stop again.
        guard gain != nil || !wasClosed else { return false }
        let raise = gain ?? self.smallGain
        let limit = self.toldLimit &+ UInt32(clamping: raise)
        var links: [FlowFrame.Link] = []
        var isLeft = false
        if namesLinks {
            (links, isLeft) = self.takeWaiting(limit)
            if links.isEmpty, gain != nil { links = self.takeNext(limit) }
            if looksAtIdle || wasClosed { links += self.takeIdle(limit, at: now, most: Self.mostNamed - links.count) }
        }
        if gain != nil || !links.isEmpty {
            var frame = FlowFrame(
                nextIncomingID: self.nextIncomingID,
                incomingWindow: self.tell(raise),
                nextOutgoingID: self.window.nextOutgoingID,
                outgoingWindow: incoming.outgoingWindow
            )
            if links.isEmpty { body(frame.encoded(channel: channel)) }
            for link in links {
                frame.link = link
                body(frame.encoded(channel: channel))
            }
        }
        self.links.wakeID = namesLinks ? self.nextWakeID() : self.nextIncomingID &+ UInt32(Int32.max)
        return isLeft
    }

    /// Returns the active links whose senders may have stopped at the end of an advertised window, for the flow to name
    /// them.
    ///
    /// - Parameter limit: The first id after the window in this flow.
    private func takeWaiting(_ limit: UInt32) -> (links: [FlowFrame.Link], isLeft: Bool) {
        var links: [FlowFrame.Link] = []
        var isLeft = false
        self.links.visitActive { handle, isInMessage in
            guard let renewal = self.flows.renewal(of: handle, isInMessage: isInMessage) else { return .left }
            guard self.isUsedUp(renewal.namedLimit) else { return .kept }
            guard links.count < Self.mostNamed else {
                isLeft = true
                return .kept
            }
            links.append(self.name(renewal, limit))
            return .named
        }
        return (links, isLeft)
    }

    /// Returns the next active link in turn; empty if no link is active.
    private func takeNext(_ limit: UInt32) -> [FlowFrame.Link] {
        guard let next = self.links.nextActive else { return [] }
        var links: [FlowFrame.Link] = []
        self.links.visitActive { handle, isInMessage in
            guard handle == next, let renewal = self.flows.renewal(of: handle, isInMessage: isInMessage) else {
                return .kept
            }
            links.append(self.name(renewal, limit))
            return .named
        }
        return links
    }

    /// Returns links with credit and without arrivals that may have stopped.
    private func takeIdle(_ limit: UInt32, at now: Int64, most: Int) -> [FlowFrame.Link] {
        // The check visits all links. With more than 64, it runs at most once per pause.
        self.owesIdleLinks = true
        guard self.flows.ownCount <= 64 || now - self.idleLookTime >= Self.idlePause else { return [] }
        self.idleLookTime = now
        let (renewals, isLeft) = self.flows.idleRenewals(at: now, pause: Self.idlePause, most: most) {
            !self.links.isActive($0) && self.isUsedUp($1.namedLimit)
        }
        self.owesIdleLinks = isLeft
        return renewals.map { self.name($0, limit) }
    }

    private func name(_ renewal: LinkFlows.Renewal, _ limit: UInt32) -> FlowFrame.Link {
        self.flows.named(renewal.link.handle, limit: limit)
        return renewal.link
    }

    /// Returns whether the peer has used all of the window in the link's last flow.
    private func isUsedUp(_ namedLimit: UInt32?) -> Bool {
        namedLimit.map { Int32(bitPattern: self.nextIncomingID &- $0) >= 0 } ?? true
    }

    /// Returns the next-incoming-id at which the first of the active links may have stopped.
    private func nextWakeID() -> UInt32 {
        let distances = self.links.active.compactMap { handle in
            // An incomplete message does not change the limit.
            self.flows.renewal(of: handle, isInMessage: true)?.namedLimit.map { $0 &- self.nextIncomingID }
        }
        return self.nextIncomingID &+ (distances.filter { $0 > 0 }.min() ?? .max)
    }

    /// Whether an active link may have stopped. This is a rough check, because ``renew(at:namesLinks:_:)`` checks
    /// exactly.
    var mayHaveWaiting: Bool {
        !self.links.active.isEmpty && Int32(bitPattern: self.nextIncomingID &- self.links.wakeID) >= 0
    }

    /// Returns the answer to the peer's echo requests.
    func takeEchoes() -> [ByteBuffer] {
        self.isEchoDue = false
        guard let channel = self.localChannel, let incoming = self.incoming else { return [] }
        var frame = FlowFrame(
            nextIncomingID: self.nextIncomingID,
            incomingWindow: self.tell(self.smallGain),
            nextOutgoingID: self.window.nextOutgoingID,
            outgoingWindow: incoming.outgoingWindow
        )
        let links = self.flows.takeEchoes { self.senderState?($0) }
        guard !links.isEmpty else { return [frame.encoded(channel: channel)] }
        return links.map { link in
            self.flows.named(link.handle, limit: self.toldLimit)
            frame.link = link
            return frame.encoded(channel: channel)
        }
    }
}
