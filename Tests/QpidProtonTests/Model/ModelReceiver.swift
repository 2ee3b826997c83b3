// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport

@testable import QpidProton

/// A message of the peer.
// Sendable because all mutable state is used on the event loop only.
final class OfferedMessage: @unchecked Sendable {
    let id: UInt64
    let bytes: ByteBuffer
    /// The bytes of the body of a message that can be streamed.
    let body: ByteBuffer
    let isSettled: Bool
    let delivery: OpaquePointer
    /// The number of bytes that were passed to the peer's Proton.
    var offered = 0
    var isWhole = false
    var isAborted = false
    /// The number of times the application received the message, and its first decision.
    var taken = 0
    var decision: AMQPOutcome?
    var isPeerSettled = false
    /// The outcome that the peer has seen.
    var seen: UInt64?

    init(id: UInt64, bytes: ByteBuffer, body: ByteBuffer, isSettled: Bool, _ delivery: OpaquePointer) {
        self.id = id
        self.bytes = bytes
        self.body = body
        self.isSettled = isSettled
        self.delivery = delivery
    }
}

/// A delivery that the application holds.
// Sendable because all mutable state is used on the event loop only.
final class HeldDelivery: @unchecked Sendable {
    let delivery: AMQPDelivery
    let message: OfferedMessage
    var body: AMQPDelivery.Body.AsyncIterator?
    var read = ByteBuffer()
    var isReading = false

    init(_ delivery: AMQPDelivery, _ message: OfferedMessage) {
        self.delivery = delivery
        self.message = message
    }
}

/// A receiver of the library, and the messages that the peer sends to it.
// Sendable because all mutable state is used on the event loop only.
final class ModelReceiver: @unchecked Sendable {
    let receiver: AMQPReceiver
    /// The endpoint, kept for checks after the link has ended.
    let endpoint: ReceiverEndpoint?
    let session: ModelSession
    let configuration: AMQPReceiver.Configuration
    let openTime: NIODeadline
    unowned let world: ModelWorld
    var messages: [OfferedMessage] = []
    /// The unfinished messages by their ids.
    var byID: [UInt64: OfferedMessage] = [:]
    var current: OfferedMessage?
    var held: [HeldDelivery] = []
    var lastTaken: UInt64 = 0
    var waits: [ModelCall] = []
    var isWaitingForBatch = false
    var isClosing = false
    /// Whether the receiver is paused.
    var isPaused = false
    var drains = 0
    /// The number of received messages while the configured rate limit applies.
    var takenCount = 0
    var isLimited = false

    init(
        _ receiver: AMQPReceiver,
        _ session: ModelSession,
        _ configuration: AMQPReceiver.Configuration,
        _ openTime: NIODeadline,
        _ world: ModelWorld
    ) {
        self.receiver = receiver
        self.endpoint = world.peer.handler.sessions.receiver(receiver.core.status)
        self.session = session
        self.configuration = configuration
        self.openTime = openTime
        self.world = world
        self.isLimited = configuration.rateLimit != nil
    }

    var name: String { self.receiver.name }
    var link: OpaquePointer? { self.world.peerLinks[self.name] }
    var isOpen: Bool {
        !self.isClosing && !self.world.isLost && self.session.isOpen && self.receiver.error == nil
    }
    private var random: SeededGenerator {
        get { self.world.random }
        set { self.world.random = newValue }
    }

    // MARK: The peer

    /// Begins a message of the peer, and possibly sends all of it at once.
    func offer(whole: Bool) {
        guard let link = self.link, InMemoryPeer.isOpen(link), self.current == nil else { return }
        // The peer begins a few more messages than it has credit for, but not endlessly.
        guard pn_link_credit(link) > 0 || (pn_link_queued(link) < 4 && self.random.chance(20)) else { return }
        let id = self.world.makeID()
        let size = self.random.size(least: 8)
        var message = AMQPMessage()
        message.properties.messageID = .ulong(id)
        var body = payload(self.random.number(0...max(1, size / 2)), fill: UInt8(truncatingIfNeeded: id))
        let second = payload(size - body.readableBytes, fill: UInt8(truncatingIfNeeded: id + 1))
        message.body = .data([body, second])
        body.writeImmutableBuffer(second)
        guard let bytes = try? message.encoded() else { return self.world.fail("a message cannot be encoded") }
        let delivery = withUnsafeBytes(of: id.bigEndian) { tag in
            pn_delivery(link, pn_dtag(tag.bindMemory(to: CChar.self).baseAddress, tag.count))
        }
        guard let delivery else { return self.world.fail("\(self.name): the peer has no delivery") }
        let offered = OfferedMessage(id: id, bytes: bytes, body: body, isSettled: self.random.chance(15), delivery)
        self.messages.append(offered)
        self.byID[id] = offered
        self.current = offered
        self.world.note("peer: \(self.name) offers \(id) \(bytes.readableBytes) \(whole ? "whole" : "in parts")")
        self.sendPart(whole ? bytes.readableBytes : self.random.number(0...bytes.readableBytes - 1), ends: whole)
    }

    /// Continues the current message of the peer.
    func continueOffer(toEnd: Bool) {
        guard let message = self.current, let link = self.link, InMemoryPeer.isOpen(link) else { return }
        let rest = message.bytes.readableBytes - message.offered
        self.world.note("peer: \(self.name) continues \(message.id), to the end: \(toEnd)")
        self.sendPart(toEnd ? rest : self.random.number(0...rest), ends: toEnd)
    }

    private func sendPart(_ count: Int, ends: Bool) {
        guard let message = self.current, let link = self.link else { return }
        if let slice = message.bytes.getSlice(at: message.bytes.readerIndex + message.offered, length: count), count > 0
        {
            slice.withUnsafeReadableBytes {
                _ = pn_link_send(link, $0.bindMemory(to: CChar.self).baseAddress, $0.count)
            }
        }
        message.offered += count
        guard ends else { return }
        message.isWhole = true
        self.current = nil
        pn_link_advance(link)
        if message.isSettled {
            message.isPeerSettled = true
            pn_delivery_settle(message.delivery)
        }
    }

    func abortOffer() {
        guard let message = self.current, let link = self.link, InMemoryPeer.isOpen(link) else { return }
        self.world.note("peer: \(self.name) aborts \(message.id)")
        message.isAborted = true
        message.isPeerSettled = true
        self.current = nil
        pn_delivery_abort(message.delivery)
    }

    /// Settles a message that the peer has sent, decided or not.
    func settleByPeer() {
        // In the second mode the peer settles a decided message here, sooner or later.
        let open = self.messages.filter {
            $0.isWhole && !$0.isPeerSettled && ($0.seen == nil || self.configuration.settleMode == .second)
        }
        guard let link = self.link, InMemoryPeer.isOpen(link), pn_link_queued(link) == 0,
            let message = self.random.pick(open)
        else { return }
        self.world.note("peer: \(self.name) settles \(message.id)")
        message.isPeerSettled = true
        pn_delivery_settle(message.delivery)
    }

    /// Answers a drain between the peer's messages, and only while its bytes flow freely. If a message began before
    /// Proton had written the answer, its credit counts would diverge.
    func answerDrain() {
        guard self.world.peer.toLibrary.allowance == nil else { return }
        guard let link = self.link, InMemoryPeer.isOpen(link), self.current == nil, pn_link_queued(link) == 0,
            pn_link_get_drain(link)
        else { return }
        _ = pn_link_drained(link)
    }

    /// Records an outcome that the library has sent.
    func saw(_ id: UInt64, _ delivery: OpaquePointer) {
        let state = pn_delivery_remote_state(delivery)
        let isSettled = pn_delivery_settled(delivery)
        guard let message = self.byID[id] else { return self.world.fail("\(self.name): an outcome of no message") }
        guard state != 0 || isSettled else { return }
        self.world.note("peer: \(self.name) received \(state) for \(id)")
        message.seen = message.seen ?? state
        guard !message.isPeerSettled, let link = self.link, InMemoryPeer.isOpen(link) else { return }
        // A peer that closes receives no more outcomes.
        if state == 0, !self.isOpen {
            pn_delivery_settle(delivery)
            message.isPeerSettled = true
            return
        }
        if let decision = message.decision {
            self.world.require(state == ModelSender.state(decision), "\(id) was \(decision), but the peer has \(state)")
        } else {
            // A streamed message that has not arrived completely can no longer be decided once its link has ended.
            let mayBe = message.taken == 0 || self.configuration.streamsMessages
            let isGivenBack = state == UInt64(PN_RELEASED) && mayBe && !self.isOpen
            self.world.require(isGivenBack, "\(id) was not decided, but the peer received \(state)")
        }
        if self.configuration.settleMode == .second {
            self.world.require(!isSettled || !self.isOpen, "\(id) was settled before the peer settled it")
            if !isSettled, self.current !== message, self.random.chance(50) { return }
        }
        // The rest of a partly sent message is no longer needed.
        if self.current === message {
            message.isAborted = true
            self.current = nil
            pn_delivery_abort(delivery)
        } else {
            pn_delivery_settle(delivery)
        }
        message.isPeerSettled = true
    }

    // MARK: Receiving

    func take(_ delivery: AMQPDelivery, isInOrder: Bool = true) {
        let id = delivery.tag.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard let message = self.byID[id] else { return self.world.fail("\(self.name): a delivery of no message") }
        self.world.note("\(self.name): received \(id)")
        message.taken += 1
        self.takenCount += 1
        self.world.require(message.taken == 1, "\(id) was delivered twice")
        self.world.require(!isInOrder || id > self.lastTaken, "\(id) was delivered after \(self.lastTaken)")
        self.lastTaken = max(self.lastTaken, id)
        // The sender's settlement may have arrived in the meantime.
        self.world.require(!delivery.isSettled || message.isSettled || message.isPeerSettled, "\(id) is settled")
        if delivery.isStreamed {
            self.world.require(self.configuration.streamsMessages, "\(id) is streamed")
        } else {
            self.world.require(message.isWhole, "\(id) was delivered, but is incomplete")
            self.world.require(delivery.payload == message.bytes, "\(id) has other bytes")
        }
        let held = HeldDelivery(delivery, message)
        if delivery.isStreamed { held.body = delivery.body.makeAsyncIterator() }
        self.held.append(held)
    }

    func poll() {
        guard let delivery = self.receiver.poll() else { return }
        self.take(delivery)
    }

    func next() {
        guard !self.isWaitingForBatch else { return }
        self.world.note("\(self.name): next")
        let call = self.world.begin("next") { call in
            do throws(AMQPError) {
                guard let delivery = try await self.receiver.next() else { return self.ended(nil) }
                self.take(delivery)
            } catch let error where error.condition == .cancelled {
                self.world.require(call.isCancelled, "\(self.name): a wait was cancelled without a request")
            } catch {
                self.ended(error)
            }
        }
        self.waits.append(call)
    }

    func nextBatch() {
        self.waits.removeAll { $0.isDone }
        guard self.waits.isEmpty, !self.isWaitingForBatch else { return }
        self.isWaitingForBatch = true
        let count = self.random.number(1...6)
        self.world.note("\(self.name): nextBatch \(count)")
        self.world.begin("nextBatch") { call in
            defer { self.isWaitingForBatch = false }
            do throws(AMQPError) {
                let batch = try await self.receiver.nextBatch(max: count)
                self.world.require(batch.count <= count, "\(self.name): a batch of \(count) has \(batch.count)")
                if batch.isEmpty { self.ended(nil) }
                for delivery in batch { self.take(delivery) }
            } catch let error where error.condition == .cancelled {
                self.world.require(call.isCancelled, "\(self.name): a wait was cancelled without a request")
            } catch {
                self.ended(error)
            }
        }
    }

    func receive(timeout: Duration) {
        guard !self.isWaitingForBatch else { return }
        self.world.note("\(self.name): receive(timeout: \(timeout))")
        let call = self.world.begin("receive") { call in
            do throws(AMQPError) {
                if let delivery = try await self.receiver.receive(timeout: timeout) { self.take(delivery) }
            } catch let error where error.condition == .cancelled {
                self.world.require(call.isCancelled, "\(self.name): a wait was cancelled without a request")
            } catch {
                self.world.require(error.condition == .timeout || !self.isOpen, "\(self.name): \(error)")
            }
        }
        self.waits.append(call)
    }

    /// Checks the end that a waiting call has reported.
    private func ended(_ error: AMQPError?) {
        self.world.require(!self.isOpen, "\(self.name): a wait ended with \(error as Any), but the link is open")
    }

    // MARK: Deciding

    func decide() {
        guard let index = self.held.indices.randomElement(using: &self.random) else { return }
        let held = self.held[index]
        let outcome = self.random.pick([
            AMQPOutcome.accepted, .accepted, .accepted, .rejected(nil), .released, .modified(.init()),
        ])
        self.decide(held, outcome ?? .accepted)
        // A second decision has no effect, and a body can still be read.
        if !held.isReading, self.random.chance(90) { self.held.remove(at: index) }
    }

    func decide(_ held: HeldDelivery, _ outcome: AMQPOutcome) {
        self.world.note("\(self.name): \(outcome) \(held.message.id)")
        if held.message.decision == nil { held.message.decision = outcome }
        switch outcome {
        case .rejected(let error): held.delivery.reject(error)
        case .released: held.delivery.release()
        case .modified(let changes): held.delivery.modify(changes)
        case .accepted, .settled: held.delivery.accept()
        }
    }

    func acceptIncludingEarlier() {
        guard let held = self.random.pick(self.held) else { return }
        guard !held.delivery.isSettled else { return }
        self.world.note("\(self.name): acceptIncludingEarlier \(held.message.id)")
        for message in self.messages where message.taken > 0 && message.id <= held.message.id && message.decision == nil
        {
            message.decision = .accepted
        }
        // The decision includes messages that the peer has settled, of which nothing else is expected.
        for other in self.held where other.message.id <= held.message.id && other.message.decision == nil {
            other.message.decision = .accepted
        }
        held.delivery.accept(includingEarlier: true)
    }

    func drop() {
        guard let index = self.held.indices.randomElement(using: &self.random), !self.held[index].isReading else {
            return
        }
        self.world.note("\(self.name): drop \(self.held[index].message.id)")
        self.held.remove(at: index)
    }

    /// Reads several pieces of a body.
    func read() {
        let open = self.held.filter { $0.body != nil && !$0.isReading }
        guard let held = self.random.pick(open) else { return }
        self.read(held, pieces: self.random.number(1...4))
    }

    func read(_ held: HeldDelivery, pieces: Int) {
        held.isReading = true
        self.world.note("\(self.name): read \(held.message.id) \(pieces)")
        self.world.begin("read") { call in
            defer { held.isReading = false }
            guard var body = held.body else { return }
            do throws(AMQPError) {
                for _ in 0..<pieces {
                    guard let piece = try await body.next(isolation: nil) else {
                        self.bodyEnded(held)
                        return
                    }
                    held.read.writeImmutableBuffer(piece)
                }
                held.body = body
                let count = held.read.readableBytes
                let expected = held.message.body.readableBytesView.prefix(count)
                self.world.require(
                    held.read.readableBytesView == expected,
                    "\(held.message.id): the body has other bytes"
                )
            } catch let error where error.condition == .cancelled && call.isCancelled {
                held.body = body
            } catch {
                held.body = nil
                let isBroken = held.message.isAborted || held.message.decision != nil || !self.isOpen
                self.world.require(isBroken, "\(held.message.id): its body ended with \(error)")
            }
        }
    }

    private func bodyEnded(_ held: HeldDelivery) {
        held.body = nil
        // A message that was decided before it was read has no body any more.
        guard held.message.decision == nil, !held.message.isAborted else { return }
        self.world.require(held.message.isWhole, "\(held.message.id): the body ended before the message")
        self.world.require(held.read == held.message.body, "\(held.message.id): the body ended with other bytes")
    }
}
