// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore

@testable import QpidProton

extension ModelReceiver {
    // MARK: Pausing and ending

    func pause() {
        self.world.note("\(self.name): pause")
        self.isPaused = true
        self.world.begin("pause") { call in
            do throws(AMQPError) {
                try await self.receiver.pause()
            } catch {
                let isFine = call.isCancelled || error.condition == .timeout || !self.isOpen
                self.world.require(isFine, "\(self.name): pausing failed: \(error)")
            }
        }
    }

    func resume() {
        self.world.note("\(self.name): resume")
        self.isPaused = false
        self.receiver.resume()
    }

    func drain(timeout: Duration) {
        self.world.note("\(self.name): drain(timeout: \(timeout))")
        self.world.begin("drain") { call in
            do throws(AMQPError) {
                let credit = try await self.receiver.drain(timeout: timeout)
                self.world.require(credit >= 0, "\(self.name): credit \(credit) was returned")
            } catch {
                let isFine = call.isCancelled || error.condition == .timeout || !self.isOpen
                self.world.require(isFine, "\(self.name): draining failed: \(error)")
            }
        }
    }

    func close() {
        self.isClosing = true
        self.world.note("\(self.name): close")
        self.world.begin("close") { _ in await self.receiver.close() }
    }

    func closeSettling(_ limit: Duration) {
        self.isClosing = true
        self.world.note("\(self.name): close(within: \(limit))")
        self.world.begin("close(within:)") { _ in
            let result = await self.receiver.close(within: limit)
            let most = self.messages.count { $0.taken > 0 }
            let left = result.deliveriesNotSettled + result.settlementsNotWritten
            self.world.require(left >= 0 && left <= most, "\(self.name): \(left) of \(most) were left")
            let doubt = result.settlementsInDoubt
            self.world.require(doubt >= 0 && doubt <= self.takenCount, "\(self.name): \(doubt) are in doubt")
            let isAnswered = result.error == nil && self.configuration.settleMode == .first
            self.world.require(!isAnswered || doubt == 0, "\(self.name): \(doubt) are in doubt after an answer")
        }
    }

    /// Lifts the rate limit of the receiver, and settles the peer's messages whose outcome has arrived.
    func endLimits() {
        self.isLimited = false
        if self.isOpen { try? self.receiver.setRateLimit(nil) }
        guard let link = self.link, InMemoryPeer.isOpen(link) else { return }
        for message in self.messages where message.seen != nil && !message.isPeerSettled && message.isWhole {
            message.isPeerSettled = true
            pn_delivery_settle(message.delivery)
        }
    }

    // MARK: Checks

    /// Requires that no more messages arrived than the rate limit allows since the link was opened.
    private func checkRate() {
        guard self.isLimited, self.configuration.window != .manual, let limit = self.configuration.rateLimit,
            let rate = limit.messagesPerSecond
        else { return }
        // The testing loop's clock moves backwards for overdue work.
        let elapsed = Double((self.world.peer.loop.now - self.openTime).nanoseconds) / 1e9 * 1.25 + 0.05
        let most = max(1, rate * 0.1) + rate * elapsed
        self.world.require(
            Double(self.takenCount) <= most,
            "\(self.name): \(self.takenCount) messages arrived in \(elapsed) s at a limit of \(rate) a second"
        )
    }

    /// Whether the peer's Proton has sent everything.
    private var hasSentAll: Bool {
        guard let link = self.link else { return false }
        return pn_session_outgoing_bytes(pn_link_session(link)) == 0 && pn_link_queued(link) == 0
    }

    func check(isQuiet: Bool) {
        guard let endpoint = self.endpoint else { return }
        self.checkRate()
        // After the end of the link, settled messages that waited for room may exceed the budget.
        if let budget = endpoint.state.window.budget, !endpoint.state.window.isAutomatic,
            !self.configuration.streamsMessages,
            self.receiver.error == nil
        {
            let peak = self.receiver.bufferedBytesPeak
            self.world.require(peak <= budget, "\(self.name): \(peak) bytes were buffered, of \(budget)")
        }
        if self.configuration.streamsMessages {
            let bytes = endpoint.streams?.heldBytes ?? 0
            let held = (endpoint.streams?.streams ?? [:]).values.reduce(0) { $0 + $1.heldBytes }
            // The first piece contains the sections before the body.
            let most = max(self.configuration.streamBuffer.bytes, CreditWindow.leastSize) + 40_000
            self.world.require(bytes <= most, "\(self.name): \(bytes) streamed bytes wait, of \(most)")
            if self.isOpen { self.world.require(bytes == held, "\(self.name): \(bytes) counted, \(held) held") }
        }
        guard isQuiet, self.isOpen, let link = self.link else { return }
        self.checkCredit(endpoint, link)
        if self.hasSentAll, !endpoint.state.message.isHeldBack {
            self.checkPlaces(endpoint)
            if !self.configuration.streamsMessages {
                let waiting = self.messages.filter { $0.isWhole && $0.taken == 0 && !$0.isAborted }
                let bytes = waiting.reduce(0) { $0 + $1.bytes.readableBytes }
                self.world.require(
                    self.receiver.bufferedBytes.bytes == bytes && self.receiver.bufferedMessages == waiting.count,
                    "\(self.name): buffers \(self.receiver.bufferedBytes.bytes), and \(bytes) wait"
                )
            }
        }
        self.checkProgress(endpoint, link)
        self.messages.removeAll { $0.isPeerSettled && ($0.taken > 0 || $0.isAborted) && $0.isWhole != $0.isAborted }
    }

    /// Requires that both sides count the same credit.
    private func checkCredit(_ endpoint: ReceiverEndpoint, _ link: OpaquePointer) {
        let credit = Int(pn_link_credit(link)) + Int(pn_link_queued(link))
        let own = endpoint.state.window.outstanding
        // A message that waits for room in Proton has not begun to arrive. A message in transit has used its credit
        // here, but at the peer only once it is sent.
        let slack = self.current != nil || !self.hasSentAll ? 1 : 0
        self.world.require(
            (own <= credit || endpoint.state.message.isHeldBack) && own >= credit - slack,
            "\(self.name): has granted \(own), but the peer has \(credit)"
        )
        // Tasks do not see every message that begins.
        let shown = self.receiver.credit
        self.world.require(
            shown == own || (endpoint.state.message.hasBegun && shown == own + 1),
            "\(self.name): shows credit \(shown), not \(own)"
        )
        if case .messages(let count) = endpoint.state.window.policy {
            let used = own + endpoint.state.window.held
            self.world.require(used <= count, "\(self.name): \(used) of \(count) places are used")
        }
    }

    /// Requires that the used places of the window belong to messages that the application holds or will receive.
    private func checkPlaces(_ endpoint: ReceiverEndpoint) {
        var held = 0
        // Some messages may have freed their places without a report yet.
        var unsure = endpoint.inbox?.reportEvery ?? 0
        if unsure == .max { unsure = 1 << 32 }
        // With an automatic window, the tuner may have changed how often tasks report.
        if endpoint.state.window.isAutomatic { unsure = 64 }
        for message in self.messages where message.offered > 0 && !message.isAborted {
            let isOver =
                endpoint.isHeldUntilSettled ? message.decision != nil || message.isPeerSettled : message.taken > 0
            if message.isSettled, message.isWhole {
                if message.taken == 0 { unsure += 1 }
            } else if !isOver || (!message.isWhole && endpoint.isHeldUntilSettled) {
                held += 1
            }
        }
        let own = endpoint.state.window.held
        if !endpoint.isHeldUntilSettled, self.configuration.streamsMessages { unsure += self.messages.count }
        self.world.require(
            own >= held - (self.configuration.streamsMessages ? 1 : 0) && own <= held + unsure,
            "\(self.name): \(own) places are used, by \(held) messages and up to \(unsure)"
        )
    }

    /// Requires that all needed credit and windows are granted.
    private func checkProgress(_ endpoint: ReceiverEndpoint, _ link: OpaquePointer) {
        let window = endpoint.state.window
        let isWaiting = endpoint.inbox?.hasWaiters == true
        if !window.isPaused, !endpoint.account.hasRateLimit, !endpoint.state.message.hasBegun {
            switch window.policy {
            case .messages(let count):
                let used = window.outstanding + window.held
                self.world.require(used > count - max(1, count / 4), "\(self.name): only \(used) of \(count) granted")
            case .automatic, .onDemand, .unbounded:
                self.world.require(!isWaiting || window.outstanding > 0, "\(self.name): waits without credit")
            case .bytes, .manual: break
            }
        }
        let isStalled =
            pn_link_queued(link) > 0 && pn_link_credit(link) + pn_link_queued(link) > 0
            && endpoint.session.session.incomingBytes == 0
        self.world.require(!isStalled, "\(self.name): the peer has messages and credit, but sends none")
    }

    /// Requires that every message of the peer has reached the application, or was released.
    func checkEnd() {
        for message in self.messages where message.isWhole && !message.isAborted {
            guard self.isOpen else { continue }
            self.world.require(message.taken == 1, "\(self.name): \(message.id) was lost")
            self.world.require(message.isPeerSettled, "\(self.name): \(message.id) was never settled")
        }
        guard self.isOpen else { return }
        self.world.require(self.receiver.bufferedBytes == 0, "\(self.name): bytes are left")
        let unsettled = self.endpoint?.figures.unsettled ?? 0
        self.world.require(unsettled == 0, "\(self.name): \(unsettled) deliveries are not settled")
    }
}
