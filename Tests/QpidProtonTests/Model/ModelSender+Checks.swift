// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport

@testable import QpidProton

extension ModelSender {
    /// Records and checks the library's answer to a message.
    func answer(_ message: SentMessage, _ answer: Result<AMQPOutcome, AMQPError>) {
        self.world.require(message.answer == nil, "\(message.id) was answered twice: \(answer)")
        message.answer = answer
        self.world.fates[self.fate(of: answer), default: 0] += 1
        self.world.note("\(self.name): \(message.id) answered \(answer)")
        switch answer {
        // A peer that has closed settles the remaining messages without an outcome.
        case .success(.settled) where message.isSettled || !self.isOpen: break
        case .success(let outcome):
            self.world.require(
                message.verdict == outcome,
                "\(message.id): \(outcome), but the peer decided \(message.verdict as Any)"
            )
        case .failure(let error): self.checkFailure(message, error)
        }
    }

    /// Returns the fate of a message in words.
    private func fate(of answer: Result<AMQPOutcome, AMQPError>) -> String {
        switch answer {
        case .success(.accepted): return "accepted"
        case .success(.settled): return "settled"
        case .success(.rejected): return "rejected"
        case .success(.released): return "released"
        case .success(.modified): return "modified"
        case .failure(let error):
            let fates: [AMQPError.Fate: String] = [
                .notSent: "unsent", .inDoubt: "unsettled", .aborted: "aborted", .dropped: "unsent",
            ]
            if let fate = error.fate.flatMap({ fates[$0] }) { return fate }
            self.world.fail("\(self.name): \(error) does not report the fate of the message")
            return "unknown"
        }
    }

    /// Requires that all messages have an answer after the connection was lost.
    func checkLost() {
        for message in self.messages {
            self.world.require(
                message.answer != nil,
                "\(self.name): \(message.id) was not answered when the connection was lost"
            )
        }
    }

    private func checkFailure(_ message: SentMessage, _ error: AMQPError) {
        let text = "\(message.id): \(error)"
        if error.fate == .notSent {
            self.world.require(!message.hasArrived, "\(text), but the peer has received it")
            if !message.isSettled {
                self.world.require(!message.wasAborted, "\(text), but the peer has received its abort")
            }
        }
        switch error.condition {
        case .cancelled: self.world.require(message.call?.isCancelled == true, text)
        case .dropped: self.world.require(self.overflow == .dropOldest || self.overflow == .dropNewest, text)
        case .aborted: self.world.require(message.isBroken && !message.hasArrived, text)
        default: self.world.require(!self.isOpen, "\(text), but the link is open")
        }
    }

    func checkUnfinished(_ rest: AMQPCloseResult) {
        for unsent in rest.unsent {
            guard let message = self.messages.first(where: { $0.bytes == unsent.payload && !$0.isStreamed }) else {
                self.world.fail("\(self.name): a message that was never offered is unsent")
                continue
            }
            if message.bytes.readableBytes > 0 {
                self.world.require(!message.hasArrived, "\(message.id) is unsent, but the peer has received it")
            }
            if case .failure? = unsent.tracker.result { continue }
            self.world.fail("\(message.id) is unsent, but its transfer reports \(unsent.tracker.result as Any)")
        }
        for transfer in rest.unfinished.flatMap(\.inDoubt) {
            if case .failure(let error)? = transfer.result, error.fate == .inDoubt { continue }
            self.world.fail("\(self.name): an unsettled transfer reports \(transfer.result as Any)")
        }
    }

    // MARK: The peer's side

    /// Records a message that the peer has received, or whose abort it has received.
    func arrived(_ received: InMemoryPeer.Received, _ delivery: OpaquePointer?) {
        let early = self.early
        self.early = nil
        guard let message = self.find(received) else {
            // If the peer has closed a link, Proton sends an empty end for messages that had not begun.
            let isClosed = self.link.map { !InMemoryPeer.isOpen($0) } ?? true
            if received.isAborted || (isClosed && received.bytes.readableBytes == 0) { return }
            self.world.fail("\(self.name): bytes arrived that no message contains: \(received)")
            return
        }
        self.world.note("peer: \(self.name) \(message.id) \(received.isAborted ? "aborted" : "arrived")")
        if received.isAborted {
            message.wasAborted = true
            message.verdict = message.verdict ?? early
            self.world.require(message.isStreamed || early != nil || !self.isOpen, "\(message.id) was aborted")
            return
        }
        self.world.require(!message.hasArrived && !message.wasAborted, "\(message.id) arrived twice")
        self.world.require(message.id > self.lastArrived, "\(message.id) arrived after \(self.lastArrived)")
        self.world.require(!message.isUnsent, "\(message.id) arrived, but has \(message.answer as Any)")
        self.world.require(
            message.bytes == received.bytes,
            "\(message.id) has other bytes: \(received.bytes.readableBytes) of \(message.bytes.readableBytes)"
        )
        self.world.require(
            message.isSettled == received.isSettled || (received.isSettled && (early != nil || !self.isOpen)),
            "\(message.id) is settled: \(received.isSettled)"
        )
        message.hasArrived = true
        self.lastArrived = message.id
        guard let delivery, !received.isSettled else { return }
        if let early {
            message.verdict = early
            self.settle(delivery, early)
        } else if self.world.random.chance(60) {
            self.decide(delivery, message)
        } else {
            self.unsettled.append((delivery, message))
        }
    }

    /// Returns the message to which these first bytes belong; `nil` if there are too few bytes.
    func find(_ bytes: ByteBuffer) -> SentMessage? {
        if let id = bytes.getInteger(at: bytes.readerIndex, as: UInt64.self), id >> 48 == 0 {
            return self.messages.first { $0.id == id }
        }
        // The beginning contains the id of the message, and has the same length in every message.
        let count = Self.beginning
        guard bytes.readableBytes >= count else { return nil }
        return self.messages.first { $0.bytes.readableBytesView.prefix(count) == bytes.readableBytesView.prefix(count) }
    }

    private func find(_ received: InMemoryPeer.Received) -> SentMessage? {
        let bytes = received.bytes
        if bytes.readableBytes == 0, !received.isAborted {
            return self.messages.first {
                $0.bytes.readableBytes == 0 && $0.id > self.lastArrived && !$0.isUnsent && !$0.isStreamed
                    && $0.isSettled == received.isSettled
            }
        }
        return self.find(bytes)
    }

    func decide(_ delivery: OpaquePointer, _ message: SentMessage) {
        let outcome = self.world.random.pick([AMQPOutcome.accepted, .accepted, .rejected(nil), .released])
        message.verdict = outcome
        self.settle(delivery, outcome ?? .accepted)
    }

    private func settle(_ delivery: OpaquePointer, _ outcome: AMQPOutcome) {
        guard let link = self.link, InMemoryPeer.isOpen(link) else { return }
        pn_delivery_update(delivery, Self.state(outcome))
        pn_delivery_settle(delivery)
    }

    static func state(_ outcome: AMQPOutcome) -> UInt64 {
        switch outcome {
        case .rejected: UInt64(PN_REJECTED)
        case .released: UInt64(PN_RELEASED)
        case .modified: UInt64(PN_MODIFIED)
        case .accepted, .settled: UInt64(PN_ACCEPTED)
        }
    }

    // MARK: The ledger

    /// The bytes that wait in the lane, as the ledger counts them; `nil` if the link has ended.
    private var queued: Int? {
        guard let lane = self.endpoint?.lane else { return nil }
        var sum = 0
        for (index, message) in lane.backlog.enumerated() {
            let isFirst = index == 0 && lane.isMidMessage
            if !(isFirst && lane.isInParts) { sum += message.ledgerBytes }
            if isFirst { sum -= lane.offset }
            sum += lane.streams[message.stream]?.reduce(0) { $0 + $1.ledgerBytes } ?? 0
        }
        return sum
    }

    /// Checks the sender. Returns its queued bytes, for the sum of the session.
    func check(isQuiet: Bool) -> Int {
        let used = self.sender.outgoingBytes.bytes
        let queued = self.queued ?? 0
        self.world.require(used >= queued, "\(self.name): the ledger has \(used), but \(queued) bytes are queued")
        if let high = self.high {
            let most = max(high, self.largest)
            self.world.require(self.sender.outgoingBytesPeak <= most, "\(self.name): more than \(most) was admitted")
        }
        guard isQuiet, self.isOpen else { return queued }
        self.checkProgress()
        // The model cannot compute whether an unanswered call was admitted; only the ledger records it.
        let isKnown = self.messages.allSatisfy { $0.answer != nil || ($0.isAdmitted != nil && !$0.isStreamed) }
        if isKnown, self.world.peer.script.takesMessages { self.checkReality(used) }
        return queued
    }

    /// Requires that the ledger counts the accepted bytes that the peer has not received.
    private func checkReality(_ used: Int) {
        var expected = 0
        for message in self.messages where message.answer == nil && !message.hasArrived {
            expected += message.ledgerBytes
        }
        // An abandoned message may not have been aborted yet.
        if let link = self.link, let partial = self.world.peer.partial[link], self.find(partial)?.answer == nil {
            expected -= partial.readableBytes
        }
        self.world.require(used == expected, "\(self.name): the ledger has \(used), but \(expected) bytes wait")
    }

    /// Requires that every message that could leave has left.
    private func checkProgress() {
        guard let link = self.link, self.world.peer.script.takesMessages else { return }
        guard let endpoint = self.endpoint, let lane = endpoint.lane else { return }
        let state = lane.state
        let credit = Int(pn_link_credit(link))
        let isWaiting = !state.isEmpty && !state.isPaced
        if isWaiting, !endpoint.session.isBlocked {
            self.world.require(
                state.isMidMessage ? credit == 0 : credit <= 0,
                "\(self.name): stalls with credit \(credit), \(state)"
            )
        }
        let mayDrain = lane.isEmpty || (!lane.isMidMessage && credit <= 0)
        if pn_link_get_drain(link), mayDrain {
            self.world.require(credit <= 0, "\(self.name): no answer to a drain of credit \(credit)")
        }
        if !lane.isMidMessage {
            self.world.require(
                self.sender.credit == max(0, credit),
                "\(self.name): has credit \(self.sender.credit), but the peer has granted \(credit)"
            )
        }
        self.checkRoom()
    }

    /// Requires that no call waits for room that is available.
    private func checkRoom() {
        let isStreaming = self.messages.contains { $0.isStreamed && $0.answer == nil }
        let isEmpty =
            self.sender.outgoingBytes == 0 && self.session.session.outgoingBytes == 0
            && self.world.connection.outgoingBytes == 0 && self.world.stranger.held == 0
            && self.world.stranger.wanted == 0
        guard isEmpty, !isStreaming else { return }
        let waiting = self.messages.filter { $0.call != nil && $0.isAdmitted == nil && $0.answer == nil }
        for message in waiting where message.call?.name == "enqueue" {
            self.world.fail("\(message.id) waits for room, but the ledgers are empty")
        }
    }

    /// Requires that every message has an answer that agrees with the messages at the peer.
    func checkEnd() {
        for message in self.messages {
            guard let answer = message.answer else {
                let state = self.endpoint?.lane.map { "\($0.state), \($0.backlog.count) queued" } ?? "no lane"
                let text = "\(message.id) was never answered, admitted: \(message.isAdmitted as Any)"
                self.world.fail("\(self.name): \(text), \(state), \(self.world.describe(self.link))")
                continue
            }
            if message.isRejectedEarly, !self.isOpen { continue }
            if case .success = answer, !message.wasAborted, self.isOpen || !message.isSettled {
                self.world.require(message.hasArrived, "\(message.id): \(answer), but it never arrived")
            }
        }
    }
}
