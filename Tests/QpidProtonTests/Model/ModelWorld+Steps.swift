// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport

@testable import QpidProton

extension ModelWorld {
    /// Performs one random step.
    func step() {
        switch self.random.number(0...99) {
        case 0...37: self.stepOfSender()
        case 38...66: self.stepOfReceiver()
        case 67...89: self.stepOfPeer()
        case 90...92: self.cancel()
        case 93: self.stepOfStranger()
        case 94...97: self.advance(by: .microseconds(Int64(self.random.number(1...8_000))))
        default: self.stepOfLife()
        }
    }

    private func stepOfSender() {
        guard let sender = self.random.pick(self.senders.filter(\.isOpen)) else { return }
        switch self.random.number(0...39) {
        case 0...9: sender.trySend()
        case 10...17: if sender.pending.count < 24 { sender.enqueue() }
        case 18...23: if sender.pending.count < 24 { sender.send() }
        case 24...26: if sender.pending.count(where: { $0.isStreamed }) < 2 { sender.stream() }
        case 27...37: sender.feed()
        default: self.limit(sender)
        }
    }

    private func limit(_ sender: ModelSender) {
        let rate = AMQPRateLimit(
            messagesPerSecond: Double(self.random.number(100...2_000)),
            bytesPerSecond: self.random.chance(50) ? Double(self.random.number(100_000...9_000_000)) : nil
        )
        sender.isLimited = !sender.isLimited
        self.note("\(sender.name): a rate limit: \(sender.isLimited)")
        try? sender.sender.setRateLimit(sender.isLimited ? rate : nil)
    }

    private func stepOfReceiver() {
        guard let receiver = self.random.pick(self.receivers) else { return }
        switch self.random.number(0...49) {
        case 0...8: receiver.poll()
        case 9...14: if receiver.waits.count(where: { !$0.isDone }) < 4 { receiver.next() }
        case 15...18: receiver.nextBatch()
        case 19...32: receiver.decide()
        case 33...34: receiver.acceptIncludingEarlier()
        case 35: receiver.drop()
        case 36...41: receiver.read()
        case 42...43: if receiver.isOpen { receiver.pause() }
        case 44...46: receiver.resume()
        case 47: receiver.drain(timeout: .milliseconds(self.random.number(1...20)))
        case 48: receiver.receive(timeout: .milliseconds(self.random.number(1...20)))
        default:
            receiver.receiver.grant(credit: receiver.configuration.window == .manual ? self.random.number(1...5) : 0)
        }
    }

    private func stepOfStranger() {
        guard let limit = self.budget?.limit.bytes else { return }
        if self.stranger.held > 0, self.random.chance(60) {
            self.note("a stranger releases \(self.stranger.held) bytes")
            self.stranger.giveBack()
        } else {
            let bytes = self.random.number(1...limit / 2)
            self.note("a stranger reserves \(bytes) bytes")
            self.stranger.take(bytes)
        }
    }

    private func cancel() {
        let open = self.calls.filter { !$0.isDone && !$0.isCancelled && $0.name != "open" }
        guard let call = self.random.pick(open) else { return }
        self.note("cancel \(call.name)")
        call.cancel()
    }

    // MARK: The peer

    private func stepOfPeer() {
        switch self.random.number(0...29) {
        case 0...13: if let receiver = self.random.pick(self.receivers) { self.offer(receiver) }
        case 14...27: if let sender = self.random.pick(self.senders) { self.stepOfPeer(sender) }
        default: self.hold()
        }
    }

    private func offer(_ receiver: ModelReceiver) {
        switch self.random.number(0...19) {
        case 0...9: receiver.offer(whole: true)
        case 10...12: receiver.offer(whole: false)
        case 13...15: receiver.continueOffer(toEnd: false)
        case 16...17: receiver.continueOffer(toEnd: true)
        case 18: receiver.abortOffer()
        default: receiver.settleByPeer()
        }
    }

    private func stepOfPeer(_ sender: ModelSender) {
        guard let link = sender.link, InMemoryPeer.isOpen(link) else { return }
        switch self.random.number(0...19) {
        case 0...9:
            guard pn_link_credit(link) < 40, !pn_link_get_drain(link) else { return }
            let credit = self.random.number(1...8)
            self.note("peer: \(sender.name) credit +\(credit)")
            pn_link_flow(link, Int32(credit))
        case 10:
            let free = pn_link_credit(link) - pn_link_queued(link)
            guard free > 0, !pn_link_get_drain(link) else { return }
            let credit = self.random.number(1...Int(free))
            self.note("peer: \(sender.name) credit -\(credit)")
            pn_link_flow(link, Int32(-credit))
        case 11:
            guard pn_link_credit(link) > 0, !pn_link_get_drain(link) else { return }
            self.note("peer: \(sender.name) drain of \(pn_link_credit(link))")
            pn_link_drain(link, 0)
        case 12: self.settleEarly(sender, link)
        default:
            guard let index = sender.unsettled.indices.randomElement(using: &self.random) else { return }
            let (delivery, message) = sender.unsettled.remove(at: index)
            self.note("peer: \(sender.name) settles \(message.id)")
            sender.decide(delivery, message)
        }
    }

    /// Decides a partly received message.
    private func settleEarly(_ sender: ModelSender, _ link: OpaquePointer) {
        guard let delivery = pn_link_current(link), pn_delivery_partial(delivery), !pn_delivery_aborted(delivery),
            sender.early == nil, let partial = self.peer.partial[link],
            let message = sender.find(partial)
        else { return }
        self.note("peer: \(sender.name) rejects \(message.id) in the middle")
        sender.early = .rejected(nil)
        message.isRejectedEarly = true
        if !message.isSettled { message.verdict = .rejected(nil) }
        pn_delivery_update(delivery, UInt64(PN_REJECTED))
    }

    /// Limits the transferable bytes to a few, to none, or not at all.
    private func hold() {
        switch self.random.number(0...9) {
        case 0...1: self.peer.toPeer.allowance = self.random.number(0...4_000)
        case 2: self.peer.toLibrary.allowance = self.random.number(0...4_000)
        case 3: self.peer.script.takesMessages = false
        default: self.release()
        }
        self.note(
            "peer: \(self.peer.toPeer.allowance as Any) \(self.peer.toLibrary.allowance as Any) \(self.peer.script.takesMessages)"
        )
    }

    func release() {
        self.peer.toPeer.allowance = nil
        self.peer.toLibrary.allowance = nil
        guard !self.peer.script.takesMessages else { return }
        self.peer.script.takesMessages = true
        for link in self.peer.links where pn_link_is_receiver(link) { self.peer.receive(link) }
    }

    // MARK: Opening and closing

    private func stepOfLife() {
        switch self.random.number(0...19) {
        case 0...7: self.open()
        case 8: if let sender = self.random.pick(self.senders.filter(\.isOpen)) { sender.close() }
        case 9...10:
            guard let sender = self.random.pick(self.senders.filter(\.isOpen)) else { return }
            sender.closeFlushing(.milliseconds(self.random.number(0...50)))
        case 11: if let receiver = self.random.pick(self.receivers.filter(\.isOpen)) { receiver.close() }
        case 12...13:
            guard let receiver = self.random.pick(self.receivers.filter(\.isOpen)) else { return }
            receiver.closeSettling(.milliseconds(self.random.number(0...50)))
        case 14...15: self.closeByPeer()
        case 16: if self.random.chance(30) { self.endSession() }
        default: self.answersDrain = self.random.chance(70)
        }
    }

    private func closeByPeer() {
        if self.random.chance(50) {
            guard let sender = self.random.pick(self.senders.filter(\.isOpen)), let link = sender.link else { return }
            self.note("peer: closes \(sender.name)")
            sender.isClosing = true
            pn_link_close(link)
        } else {
            guard let receiver = self.random.pick(self.receivers.filter(\.isOpen)), let link = receiver.link,
                pn_link_queued(link) == 0
            else { return }
            self.note("peer: closes \(receiver.name)")
            receiver.isClosing = true
            receiver.current = nil
            pn_link_close(link)
        }
    }

    private func endSession() {
        guard let session = self.random.pick(self.sessions.filter(\.isOpen)) else { return }
        session.isClosing = true
        let links =
            self.senders.filter { $0.session === session }.compactMap(\.link)
            + self.receivers.filter { $0.session === session }.compactMap(\.link)
        self.note("end of a session")
        if let link = links.first, self.random.chance(50),
            links.allSatisfy({ pn_link_is_receiver($0) || pn_link_queued($0) == 0 })
        {
            pn_session_close(pn_link_session(link))
        } else {
            self.begin("end") { _ in await session.session.close() }
        }
    }

    /// Opens sessions and links while there are too few.
    func open() {
        self.forgetOver()
        let sessions = self.sessions.filter(\.isOpen)
        guard self.opening == 0 else { return }
        if sessions.count < 2 || (sessions.count < 3 && self.random.chance(10)) { return self.openSession() }
        guard let session = self.random.pick(sessions) else { return }
        let senders = self.senders.count(where: \.isOpen)
        let receivers = self.receivers.count(where: \.isOpen)
        if senders < 5, senders <= receivers || self.random.chance(30) { return self.openSender(session) }
        if receivers < 5 { self.openReceiver(session) }
    }

    private func openSession() {
        let high = self.random.number(4_000...64_000)
        let capacity = self.random.pick([8_192, 16_384, 1 << 20]) ?? 8_192
        let configuration = AMQPSession.Configuration(
            incomingCapacity: AMQPByteCount(capacity),
            sendLimit: .init(high: AMQPByteCount(high), low: self.random.chance(30) ? AMQPByteCount(high / 3) : nil)
        )
        self.opening += 1
        self.note("open a session: high \(high), capacity \(capacity)")
        self.begin("open") { _ in
            defer { self.opening -= 1 }
            do {
                self.sessions.append(ModelSession(try await self.connection.openSession(configuration), high: high))
            } catch { self.require(self.isLost, "a session cannot be opened: \(error)") }
        }
    }

    private func openSender(_ session: ModelSession) {
        var configuration = AMQPSender.Configuration(target: AMQPTarget(address: "q"))
        configuration.name = "s\(self.makeID() & 0xFFFFFF)"
        configuration.settleMode = .mixed
        configuration.overflow =
            self.random.pick([.suspend, .suspend, .suspend, .fail, .dropOldest, .dropNewest]) ?? .suspend
        configuration.priority = self.random.number(3...5)
        configuration.weight = self.random.number(1...3)
        if self.random.chance(40) {
            configuration.sendLimit = .init(high: AMQPByteCount(self.random.number(1_000...30_000)))
        }
        let offered = configuration
        let start = self.peer.loop.now
        self.opening += 1
        self.note("open \(offered.name ?? "") \(offered.overflow) high \(offered.sendLimit?.high.bytes as Any)")
        self.begin("open") { _ in
            defer { self.opening -= 1 }
            do {
                let sender = try await session.session.openSender(offered)
                let high = offered.sendLimit?.high.bytes
                self.senders.append(ModelSender(sender, session, offered.overflow, high: high, start, self))
            } catch { self.require(!session.isOpen, "a sender cannot be opened: \(error)") }
        }
    }

    private func openReceiver(_ session: ModelSession) {
        let windows: [AMQPReceiver.Window] = [
            .messages(self.random.number(1...20)), .messages(self.random.number(1...20)), .bytes(AMQPByteCount(60_000)),
            .automatic, .onDemand, .unbounded, .manual,
        ]
        var configuration = AMQPReceiver.Configuration(source: "q", window: self.random.pick(windows) ?? .automatic)
        configuration.name = "r\(self.makeID() & 0xFFFFFF)"
        configuration.creditReturn = self.random.chance(70) ? .onSettlement : .onReceipt
        configuration.settlementDelay = self.random.chance(40) ? .zero : .milliseconds(self.random.number(1...5))
        configuration.streamsMessages = self.random.chance(40)
        configuration.streamBuffer = AMQPByteCount(self.random.number(1_000...20_000))
        if self.random.chance(25) { configuration.settleMode = .second }
        if self.random.chance(25) {
            configuration.rateLimit = AMQPRateLimit(
                messagesPerSecond: Double(self.random.number(100...2_000)),
                bytesPerSecond: self.random.chance(50) ? Double(self.random.number(100_000...9_000_000)) : nil
            )
        }
        let offered = configuration
        let start = self.peer.loop.now
        self.opening += 1
        self.note(
            "open \(offered.name ?? "") \(offered.window.policy) \(offered.creditReturn) \(offered.settlementDelay) streams \(offered.streamsMessages) settles \(offered.settleMode) limited \(offered.rateLimit != nil)"
        )
        self.begin("open") { _ in
            defer { self.opening -= 1 }
            do {
                let receiver = try await session.session.openReceiver(offered)
                self.receivers.append(ModelReceiver(receiver, session, offered, start, self))
            } catch { self.require(!session.isOpen, "a receiver cannot be opened: \(error)") }
        }
    }

    /// Releases ended links once all their messages have answers.
    private func forgetOver() {
        for sender in self.senders where !sender.isOpen && sender.sender.error != nil {
            for message in sender.messages where message.body != nil { sender.end(message) }
        }
        self.sessions.removeAll { $0.session.error != nil }
    }
}
