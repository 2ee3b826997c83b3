// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport

@testable import QpidProton

/// A message that was offered to a sender.
// Sendable because all mutable state is used on the event loop only.
final class SentMessage: @unchecked Sendable {
    let id: UInt64
    /// The bytes that the peer should receive, as far as the test has sent them.
    var bytes: ByteBuffer
    let isSettled: Bool
    let isStreamed: Bool
    /// Whether the limits have admitted the message; `nil` while that is unknown.
    var isAdmitted: Bool?
    /// The outcome or the error that the library reported.
    var answer: Result<AMQPOutcome, AMQPError>?
    var body: FedBody?
    /// Whether the body threw, or its call was cancelled.
    var isBroken = false
    var call: ModelCall?
    /// The peer's view of the message, and its decision.
    var hasArrived = false
    var wasAborted = false
    /// Whether the peer has rejected the partly received message. If its link ends then, no abort arrives.
    var isRejectedEarly = false
    var verdict: AMQPOutcome?

    init(id: UInt64, bytes: ByteBuffer, isSettled: Bool, isStreamed: Bool = false) {
        self.id = id
        self.bytes = bytes
        self.isSettled = isSettled
        self.isStreamed = isStreamed
    }

    var ledgerBytes: Int { max(1, self.bytes.readableBytes) }
    var isUnsent: Bool {
        if case .failure(let error)? = self.answer { error.fate == .notSent } else { false }
    }
}

/// A sender of the library, and the messages that were offered to it.
// Sendable because all mutable state is used on the event loop only.
final class ModelSender: @unchecked Sendable {
    let sender: AMQPSender
    /// The endpoint, kept for checks after the link has ended.
    let endpoint: SenderEndpoint?
    let session: ModelSession
    let overflow: AMQPOverflow
    let high: Int?
    let openTime: NIODeadline
    unowned let world: ModelWorld
    /// The messages in the order of the calls, which is the order of acceptance.
    var messages: [SentMessage] = []
    var lastArrived: UInt64 = 0
    var largest = 0
    var isClosing = false
    var isLimited = false
    /// The messages that the peer has not settled.
    var unsettled: [(delivery: OpaquePointer, message: SentMessage)] = []
    /// The peer's early decision about the message that is arriving.
    var early: AMQPOutcome?

    init(
        _ sender: AMQPSender,
        _ session: ModelSession,
        _ overflow: AMQPOverflow,
        high: Int?,
        _ openTime: NIODeadline,
        _ world: ModelWorld
    ) {
        self.sender = sender
        self.endpoint = world.peer.handler.sessions.sender(sender.core.status)
        self.session = session
        self.overflow = overflow
        self.high = high
        self.openTime = openTime
        self.world = world
    }

    var name: String { self.sender.name }
    var link: OpaquePointer? { self.world.peerLinks[self.name] }
    /// Whether the sender is open and nothing has begun to end it.
    var isOpen: Bool {
        !self.isClosing && !self.world.isLost && self.session.isOpen && self.sender.error == nil
    }
    var pending: [SentMessage] { self.messages.filter { $0.answer == nil } }

    // MARK: Offering

    private func makeRaw() -> SentMessage {
        let id = self.world.makeID()
        let size = self.world.random.size()
        var bytes = ByteBuffer()
        if size >= 8 {
            bytes.writeInteger(id)
            bytes.writeRepeatingByte(UInt8(truncatingIfNeeded: id), count: size - 8)
        }
        return self.add(SentMessage(id: id, bytes: bytes, isSettled: self.world.random.chance(20)))
    }

    private func add(_ message: SentMessage) -> SentMessage {
        self.messages.append(message)
        self.world.offered += 1
        self.offer(message.ledgerBytes)
        return message
    }

    private func offer(_ bytes: Int) {
        self.largest = max(self.largest, bytes)
        self.session.largest = max(self.session.largest, bytes)
        self.world.largest = max(self.world.largest, bytes)
    }

    func trySend() {
        let message = self.makeRaw()
        self.world.note("\(self.name): trySend \(message.id) \(message.bytes.readableBytes)")
        do {
            self.accept(message, try self.sender.trySend(encoded: message.bytes, settled: message.isSettled))
        } catch {
            self.refuse(message, error)
        }
    }

    func enqueue() {
        let message = self.makeRaw()
        self.world.note("\(self.name): enqueue \(message.id) \(message.bytes.readableBytes)")
        message.call = self.world.begin("enqueue") { _ in
            do throws(AMQPError) {
                self.accept(
                    message,
                    try await self.sender.enqueue(encoded: message.bytes, settled: message.isSettled)
                )
            } catch {
                self.refuse(message, error)
            }
        }
    }

    private func accept(_ message: SentMessage, _ transfer: AMQPTracker) {
        message.isAdmitted = true
        transfer.whenSettled { self.answer(message, $0) }
    }

    private func refuse(_ message: SentMessage, _ error: AMQPError) {
        message.isAdmitted = false
        if error.condition == .wouldBlock {
            let isRefusal = self.overflow == .fail || message.call == nil
            self.world.require(isRefusal, "\(message.id) was refused for lack of room")
            self.messages.removeAll { $0 === message }
            self.world.fates["refused", default: 0] += 1
            return
        }
        self.answer(message, .failure(error))
    }

    /// The length of the sections before the body.
    static let beginning = (try? ModelSender.makeMessage(1 << 40).encoded().readableBytes) ?? 0

    private static func makeMessage(_ id: UInt64) -> AMQPMessage {
        var message = AMQPMessage()
        message.properties.messageID = .ulong(id)
        return message
    }

    func send() {
        let id = self.world.makeID()
        var message = Self.makeMessage(id)
        message.body = .data([payload(self.world.random.size(least: 1))])
        guard let bytes = try? message.encoded() else { return self.world.fail("a message cannot be encoded") }
        let sent = self.add(SentMessage(id: id, bytes: bytes, isSettled: self.world.random.chance(20)))
        self.world.note("\(self.name): send \(id) \(bytes.readableBytes)")
        let offered = message
        sent.call = self.world.begin("send") { call in
            do throws(AMQPError) {
                self.answer(sent, .success(try await self.sender.send(offered, settled: sent.isSettled)))
            } catch let error where error.condition == .wouldBlock {
                self.refuse(sent, error)
            } catch let error where error.fate == .inDoubt && error.condition == .cancelled {
                self.world.require(call.isCancelled && error.tracker != nil, "\(id): \(error)")
                error.tracker?.whenSettled { self.answer(sent, $0) }
            } catch {
                self.answer(sent, .failure(error))
            }
        }
    }

    // MARK: Streaming

    func stream() {
        let id = self.world.makeID()
        let message = Self.makeMessage(id)
        guard let bytes = try? message.encoded() else { return self.world.fail("a message cannot be encoded") }
        let sent = self.add(
            SentMessage(id: id, bytes: bytes, isSettled: self.world.random.chance(20), isStreamed: true)
        )
        let body = FedBody()
        sent.body = body
        self.world.note("\(self.name): stream \(id)")
        sent.call = self.world.begin("stream") { call in
            do {
                self.answer(sent, .success(try await self.sender.stream(message, settled: sent.isSettled, body: body)))
            } catch is FedBody.Broken {
                let error = AMQPError(condition: .aborted, detail: "broken").telling(.aborted)
                self.answer(sent, .failure(error))
            } catch let error as AMQPError where error.fate == .inDoubt && error.condition == .cancelled {
                self.world.require(call.isCancelled && error.tracker != nil, "\(id): \(error)")
                error.tracker?.whenSettled { self.answer(sent, $0) }
            } catch let error as AMQPError {
                self.answer(sent, .failure(error))
            } catch {
                self.world.fail("a stream threw \(error)")
            }
        }
    }

    /// Feeds, ends or breaks the body of a streamed message.
    func feed() {
        guard let message = self.world.random.pick(self.messages.filter { $0.body != nil }), let body = message.body
        else { return }
        switch self.world.random.number(0...9) {
        case 0...6:
            let size = self.world.random.chance(3) ? 70_000 : self.world.random.size()
            self.world.note("\(self.name): feed \(message.id) \(size)")
            let piece = payload(size, fill: UInt8(self.world.random.number(0...255)))
            Self.sections(piece) {
                message.bytes.writeImmutableBuffer($0)
                self.offer($0.readableBytes)
            }
            body.feed(piece)
        case 7, 8:
            self.world.note("\(self.name): end \(message.id)")
            self.end(message)
        default:
            self.world.note("\(self.name): break \(message.id)")
            message.isBroken = true
            message.body = nil
            body.end(FedBody.Broken())
        }
    }

    func end(_ message: SentMessage) {
        message.body?.end()
        message.body = nil
    }

    /// Splits a piece of a body into the library's data sections.
    private static func sections(_ piece: ByteBuffer, _ body: (ByteBuffer) -> Void) {
        var rest = piece
        while rest.readableBytes > 0, let part = rest.readSlice(length: min(rest.readableBytes, 65_536)) {
            var message = AMQPMessage()
            message.body = .data([part])
            if let bytes = try? message.encoded() { body(bytes) }
        }
    }

    // MARK: Ending

    func close() {
        self.isClosing = true
        self.world.note("\(self.name): close")
        self.world.begin("close") { _ in await self.sender.close() }
    }

    func closeFlushing(_ limit: Duration) {
        self.isClosing = true
        self.world.note("\(self.name): close(within: \(limit))")
        self.world.begin("close(within:)") { _ in
            let rest = await self.sender.close(within: limit)
            self.checkUnfinished(rest)
        }
    }
}
