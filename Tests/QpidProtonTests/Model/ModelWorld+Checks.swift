// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore

@testable import QpidProton

extension ModelWorld {
    // MARK: The peer

    /// Processes the messages that the peer has received.
    func peerLooks() {
        let received = self.peer.received
        var deliveries = self.peer.unsettled[...]
        self.peer.received = []
        self.peer.unsettled = []
        for message in received {
            let delivery = message.isSettled || message.isAborted ? nil : deliveries.popFirst()
            guard let sender = self.senders.first(where: { $0.name == message.link }) else {
                self.fail("a message arrived on an unknown link: \(message.link)")
                continue
            }
            sender.arrived(message, delivery)
        }
        for link in self.senders.compactMap(\.link) where InMemoryPeer.isOpen(link) && pn_link_credit(link) <= 0 {
            // All credit was used, so the drain needs no answer.
            if pn_link_get_drain(link) { pn_link_set_drain(link, false) }
        }
        if self.answersDrain { for receiver in self.receivers { receiver.answerDrain() } }
    }

    /// Passes an outcome that the library has sent to the receiver of that message.
    func peerSaw(_ delivery: OpaquePointer) {
        let tag = pn_delivery_tag(delivery)
        let id = UnsafeRawBufferPointer(start: tag.start, count: Int(tag.size)).reduce(UInt64(0)) {
            $0 << 8 | UInt64($1)
        }
        let name = String(cString: pn_link_name(pn_delivery_link(delivery)))
        guard let receiver = self.receivers.first(where: { $0.name == name }) else { return }
        receiver.saw(id, delivery)
    }

    // MARK: Invariants

    func check() {
        let isQuiet = self.isOpen
        self.require(self.connection.error == nil, "the connection has ended: \(self.connection.error as Any)")
        var total = 0
        for session in self.sessions where session.session.error == nil {
            total += self.check(session, isQuiet: isQuiet)
        }
        let outgoing = self.connection.outgoingBytes.bytes
        self.require(outgoing >= total, "the connection has \(outgoing) bytes, and its sessions \(total)")
        self.checkLimits(outgoing)
        if isQuiet, self.peer.handler.unwrittenBytes == 0, self.sessions.allSatisfy(\.isOpen) {
            self.require(outgoing == total, "the connection has \(outgoing) bytes, and its sessions \(total)")
        }
        for receiver in self.receivers {
            self.require(
                receiver.isOpen || receiver.isClosing || !receiver.session.isOpen,
                "\(receiver.name) has ended: \(receiver.receiver.error as Any)"
            )
            receiver.check(isQuiet: isQuiet)
        }
        self.checkSnapshot()
        self.prune()
    }

    /// Checks the accepted bytes of the connection, and those of the shared budget.
    private func checkLimits(_ outgoing: Int) {
        if let high = self.high {
            let peak = self.connection.outgoingBytesPeak
            self.require(peak <= max(high, self.largest), "\(peak) bytes were admitted, of \(high)")
        }
        guard let budget = self.budget else { return }
        let (used, held) = (budget.used.bytes, self.stranger.held)
        self.require(used == outgoing + held, "\(used) bytes of the budget are used, by \(outgoing) and \(held)")
        let most = max(budget.limit.bytes, self.largest)
        self.require(budget.peak.bytes <= most, "\(budget.peak.bytes) bytes of the budget were used, of \(most)")
        self.require(self.stranger.wanted == 0 || used > 0, "a stranger waits, but the budget is empty")
    }

    /// Requires that every offered message has exactly one of the possible answers.
    func checkAccount() {
        let answered = self.fates.values.reduce(0, +)
        self.require(answered == self.offered, "\(self.offered) messages were offered, and answered: \(self.fates)")
    }

    private func check(_ session: ModelSession, isQuiet: Bool) -> Int {
        let outgoing = session.session.outgoingBytes.bytes
        var links = 0
        var queued = 0
        for sender in self.senders where sender.session === session && sender.sender.error == nil {
            links += sender.sender.outgoingBytes.bytes
            queued += sender.check(isQuiet: isQuiet)
        }
        for sender in self.senders where sender.session === session && !sender.isClosing && session.isOpen {
            self.require(sender.sender.error == nil, "\(sender.name) has ended: \(sender.sender.error as Any)")
        }
        self.require(outgoing >= links, "a session has \(outgoing) bytes, and its links \(links)")
        let most = max(session.high, session.largest)
        self.require(session.session.outgoingBytesPeak <= most, "more than \(most) was admitted in a session")
        if isQuiet, session.isOpen, self.peer.handler.unwrittenBytes == 0 {
            let endpoint = self.peer.handler.sessions[session.session.status]
            let handed = endpoint?.session.outgoingBytes ?? 0
            self.require(
                outgoing == queued + handed,
                "a session has \(outgoing) bytes, \(queued) are queued and \(handed) are in Proton"
            )
        }
        return outgoing
    }

    /// Requires that the snapshot agrees with the flow.
    private func checkSnapshot() {
        let now = self.peer.loop.now
        let snapshot = AMQPConnectionSnapshot(self.peer.handler)
        self.require(
            snapshot.outgoing.used.bytes == self.connection.outgoingBytes.bytes,
            "the snapshot shows \(snapshot.outgoing)"
        )
        var links: [String: AMQPLinkSnapshot] = [:]
        for link in snapshot.links { links[link.name] = link }
        for sender in self.senders {
            guard let link = links[sender.name] else { continue }
            self.require(
                link.bytes.used.bytes == sender.sender.outgoingBytes.bytes,
                "\(sender.name): \(link.bytes) are shown"
            )
            self.check(link, since: sender.openTime, now)
        }
        for receiver in self.receivers {
            guard let link = links[receiver.name] else { continue }
            self.require(
                link.bytes.used.bytes == receiver.receiver.bufferedBytes.bytes,
                "\(receiver.name): \(link.bytes) are shown"
            )
            self.check(link, since: receiver.openTime, now)
        }
    }

    private func check(_ link: AMQPLinkSnapshot, since start: NIODeadline, _ now: NIODeadline) {
        let blocked = link.blockedTimes.values.reduce(.zero, +)
        // The testing loop's clock moves backwards for overdue work.
        let elapsed = Duration.nanoseconds((now - start).nanoseconds * 5 / 4) + .milliseconds(50)
        self.require(blocked <= elapsed, "\(link.name) was blocked for \(blocked) in \(elapsed)")
    }

    private func prune() {
        for sender in self.senders {
            sender.messages.removeAll {
                $0.answer != nil && ($0.hasArrived || ($0.isUnsent && sender.isOpen)) && $0.body == nil
            }
        }
    }

    // MARK: The end

    /// Runs the model until all messages and calls are finished.
    func finish() {
        self.release()
        self.stranger.giveBack()
        self.answersDrain = true
        for sender in self.senders {
            for message in sender.messages where message.body != nil { sender.end(message) }
            if sender.isOpen { try? sender.sender.setRateLimit(nil) }
            guard let link = sender.link, InMemoryPeer.isOpen(link) else { continue }
            for (delivery, message) in sender.unsettled { sender.decide(delivery, message) }
            sender.unsettled = []
            if pn_link_credit(link) < 50, !pn_link_get_drain(link) { pn_link_flow(link, 100) }
        }
        for receiver in self.receivers {
            if receiver.isPaused { receiver.resume() }
            receiver.endLimits()
            if receiver.isOpen, receiver.configuration.window == .manual { receiver.receiver.grant(credit: 10) }
            if receiver.isOpen, receiver.configuration.window == .onDemand { receiver.next() }
            if receiver.current != nil { receiver.continueOffer(toEnd: true) }
            if !receiver.isWaitingForBatch { for _ in 0..<20 { receiver.poll() } }
            for held in receiver.held where !held.isReading {
                if held.body != nil { receiver.read(held, pieces: 1_000) } else { receiver.decide(held, .accepted) }
            }
            receiver.held.removeAll { $0.body == nil && !$0.isReading }
            // The peer settles messages that the application has dropped.
            if receiver.isOpen { self.settleDropped(receiver) }
        }
        self.advance(by: .milliseconds(20))
    }

    private func settleDropped(_ receiver: ModelReceiver) {
        let held = Set(receiver.held.map(\.message.id))
        guard let link = receiver.link, InMemoryPeer.isOpen(link) else { return }
        for message in receiver.messages {
            let isDropped = message.taken > 0 && message.decision == nil && !held.contains(message.id)
            // The end of a streamed message may still be unsent.
            guard isDropped, message.isWhole, !message.isPeerSettled, !pn_delivery_buffered(message.delivery) else {
                continue
            }
            message.isPeerSettled = true
            pn_delivery_settle(message.delivery)
        }
    }

    /// Describes a link as the peer's Proton sees it.
    func describe(_ link: OpaquePointer?) -> String {
        guard let link else { return "no link of the peer" }
        let session = pn_link_session(link)
        return "the peer's credit \(pn_link_credit(link)), queued \(pn_link_queued(link)), drain "
            + "\(pn_link_get_drain(link)), state \(pn_link_state(link)), bytes \(pn_session_incoming_bytes(session)) in "
            + "and \(pn_session_outgoing_bytes(session)) out"
    }

    /// Whether all calls that must end have ended.
    var isFinished: Bool {
        let mayWait: Set = ["next", "nextBatch", "receive"]
        return self.calls.allSatisfy { $0.isDone || mayWait.contains($0.name) }
            && self.senders.allSatisfy { $0.pending.isEmpty }
            && self.receivers.allSatisfy { receiver in
                !receiver.isOpen
                    || (receiver.held.isEmpty && receiver.current == nil
                        && receiver.messages.allSatisfy { $0.isPeerSettled && ($0.taken > 0 || $0.isAborted) })
            }
    }

    func checkEnd() {
        for sender in self.senders { sender.checkEnd() }
        for receiver in self.receivers { receiver.checkEnd() }
        let left = self.calls.filter { !$0.isDone }
        let mayWait: Set = ["next", "nextBatch", "receive"]
        self.require(left.allSatisfy { mayWait.contains($0.name) }, "calls do not end: \(left.map(\.name))")
        self.require(self.connection.outgoingBytes == 0, "\(self.connection.outgoingBytes.bytes) bytes are left")
    }
}
