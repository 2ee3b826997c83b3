// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore

@testable import QpidProton

/// The peer's automatic behaviour. Only the event loop uses it.
struct PeerScript {
    /// The peer's reaction to a received message.
    enum Verdict {
        case accept, none
        /// Runs a closure with the delivery.
        case custom((OpaquePointer) -> Void)
    }

    var opensConnection = true
    var opensSessions = true
    var opensLinks = true
    var closes = true
    /// The credit that the peer grants to a sender when it attaches, and keeps topped up; `nil` for no credit.
    var credit: Int? = 100
    var answersDrain = true
    var takesMessages = true
    var maxFrameSize: UInt32? = 65_536
    var channelMax: UInt16?
    var idleTimeout: UInt32?
    var sessionCapacity: Int?
    var beforeOpen: (InMemoryPeer) -> Void = { _ in }
    /// Called before the peer opens a link that the library has attached. Returns whether the peer opens it.
    var onAttach: (InMemoryPeer, OpaquePointer) -> Bool = { _, _ in true }
    var onMessage: (InMemoryPeer, InMemoryPeer.Received) -> Verdict = { _, _ in .accept }
    /// Called when one of the peer's own deliveries changes.
    var onUpdate: (InMemoryPeer, OpaquePointer) -> Void = { _, delivery in pn_delivery_settle(delivery) }
    var onFlow: (InMemoryPeer, OpaquePointer) -> Void = { _, _ in }

    /// Records the library's decisions about the peer's messages, and settles them.
    static var keepingOutcomes: PeerScript {
        var script = PeerScript()
        script.onUpdate = { peer, delivery in
            peer.outcomes.append(pn_delivery_remote_state(delivery))
            pn_delivery_settle(delivery)
        }
        return script
    }

    /// Settles no message.
    static var settlingNothing: PeerScript {
        var script = PeerScript()
        script.onMessage = { _, _ in .none }
        return script
    }

    /// Reads nothing, so that the session's window of 4,096 bytes in frames of 1,024 soon closes.
    static var closingItsWindow: PeerScript {
        var script = PeerScript(credit: 100, maxFrameSize: 1_024)
        script.sessionCapacity = 4_096
        script.takesMessages = false
        return script
    }

    /// Answers no detach, end or close.
    static var notClosing: PeerScript {
        var script = PeerScript()
        script.closes = false
        return script
    }

    /// Lets the test answer a `begin` and an `attach`.
    static var answeredByHand: PeerScript {
        var script = PeerScript()
        script.opensSessions = false
        script.opensLinks = false
        return script
    }

    func handle(_ peer: InMemoryPeer, _ event: OpaquePointer) {
        let type = pn_event_type(event)
        peer.events.append(type)
        switch type {
        case PN_CONNECTION_REMOTE_OPEN: if self.opensConnection { pn_connection_open(peer.connection) }
        case PN_CONNECTION_REMOTE_CLOSE: if self.closes { pn_connection_close(peer.connection) }
        case PN_SESSION_REMOTE_OPEN: self.sessionOpened(peer, pn_event_session(event))
        case PN_SESSION_REMOTE_CLOSE:
            if self.closes, pn_session_state(pn_event_session(event)) & PN_LOCAL_ACTIVE != 0 {
                pn_session_close(pn_event_session(event))
            }
        case PN_LINK_REMOTE_OPEN: self.linkOpened(peer, pn_event_link(event))
        case PN_LINK_REMOTE_CLOSE: if self.closes { pn_link_close(pn_event_link(event)) }
        case PN_LINK_REMOTE_DETACH: if self.closes { pn_link_detach(pn_event_link(event)) }
        case PN_LINK_FLOW: self.flowed(peer, pn_event_link(event))
        case PN_DELIVERY: self.delivered(peer, pn_event_link(event), pn_event_delivery(event))
        default: break
        }
    }

    private func sessionOpened(_ peer: InMemoryPeer, _ session: OpaquePointer) {
        guard pn_session_state(session) & PN_LOCAL_UNINIT != 0 else { return }
        peer.sessions.append(session)
        guard self.opensSessions else { return }
        if let capacity = self.sessionCapacity { pn_session_set_incoming_capacity(session, capacity) }
        pn_session_open(session)
    }

    private func linkOpened(_ peer: InMemoryPeer, _ link: OpaquePointer) {
        guard pn_link_state(link) & PN_LOCAL_UNINIT != 0 else { return }
        peer.links.append(link)
        guard self.onAttach(peer, link), self.opensLinks else { return }
        pn_terminus_copy(pn_link_source(link), pn_link_remote_source(link))
        pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link))
        pn_link_set_snd_settle_mode(link, pn_link_remote_snd_settle_mode(link))
        pn_link_set_rcv_settle_mode(link, pn_link_remote_rcv_settle_mode(link))
        pn_link_open(link)
        if pn_link_is_receiver(link), let credit = self.credit { pn_link_flow(link, Int32(credit)) }
    }

    private func flowed(_ peer: InMemoryPeer, _ link: OpaquePointer) {
        self.onFlow(peer, link)
        if pn_link_is_sender(link), self.answersDrain, pn_link_get_drain(link) { pn_link_drained(link) }
    }

    private func delivered(_ peer: InMemoryPeer, _ link: OpaquePointer, _ delivery: OpaquePointer) {
        if pn_link_is_sender(link) {
            if pn_delivery_updated(delivery) { self.onUpdate(peer, delivery) }
        } else if self.takesMessages {
            peer.receive(link)
        }
    }
}

extension InMemoryPeer {
    /// Receives the messages that have arrived on a link.
    func receive(_ link: OpaquePointer) {
        while let delivery = pn_link_current(link) {
            var bytes = self.partial.removeValue(forKey: link) ?? ByteBuffer()
            let isAborted = pn_delivery_aborted(delivery)
            let pending = isAborted ? 0 : Int(pn_delivery_pending(delivery))
            bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: pending) { room in
                pending == 0 ? 0 : max(0, pn_link_recv(link, room.bindMemory(to: CChar.self).baseAddress, pending))
            }
            if pn_delivery_partial(delivery), !isAborted {
                self.partial[link] = bytes
                return
            }
            let tag = pn_delivery_tag(delivery)
            let message = Received(
                link: pn_link_name(link).map { String(cString: $0) } ?? "",
                tag: Array(UnsafeRawBufferPointer(start: tag.start, count: tag.size)),
                bytes: bytes,
                isSettled: pn_delivery_settled(delivery),
                isAborted: isAborted
            )
            self.received.append(message)
            if !isAborted { pn_link_advance(link) }
            self.decide(message, delivery)
            if let credit = self.script.credit, pn_link_credit(link) < credit / 2 + 1 {
                pn_link_flow(link, Int32(credit) - pn_link_credit(link))
            }
        }
    }

    /// Whether the peer has neither closed the link nor ended its session.
    static func isOpen(_ link: OpaquePointer) -> Bool {
        (pn_link_state(link) | pn_session_state(pn_link_session(link))) & PN_LOCAL_CLOSED == 0
    }

    private func decide(_ message: Received, _ delivery: OpaquePointer) {
        if message.isSettled || message.isAborted { return pn_delivery_settle(delivery) }
        switch self.script.onMessage(self, message) {
        case .accept:
            pn_delivery_update(delivery, UInt64(PN_ACCEPTED))
            pn_delivery_settle(delivery)
        case .none: self.unsettled.append(delivery)
        case .custom(let body): body(delivery)
        }
    }

    /// Sends a message, or the first or a further part of a message, on a link of the peer.
    @discardableResult
    func send(_ bytes: ByteBuffer, on link: OpaquePointer, settled: Bool = false, isLast: Bool = true) -> OpaquePointer?
    {
        if pn_link_current(link) == nil || self.isBetweenMessages {
            self.nextTag += 1
            withUnsafeBytes(of: self.nextTag.bigEndian) { tag in
                _ = pn_delivery(link, pn_dtag(tag.bindMemory(to: CChar.self).baseAddress, tag.count))
            }
        }
        self.isBetweenMessages = isLast
        bytes.withUnsafeReadableBytes { bytes in
            _ = pn_link_send(link, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count)
        }
        let delivery = pn_link_current(link)
        if isLast {
            pn_link_advance(link)
            if settled, let delivery { pn_delivery_settle(delivery) }
        }
        return delivery
    }
}
