// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The socket and the peer of a connection in memory. It makes the frames itself and allocates nothing for a message, so
/// that what is counted is the library's.
///
/// It accepts all that it gets, keeps up credit for ``credit`` messages (on one link; where there are more, each has
/// credit for all at once), and sends as many messages as it is told to.
final class ScriptedPeer: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let credit: UInt32 = 1_000
    /// How many transfers it sends at a time.
    private let burst: UInt32

    private var context: ChannelHandlerContext?
    private var promises: [EventLoopPromise<Void>] = []
    private var hasHeader = false
    /// What waits to be given to the library; room for what comes next.
    private var answers = ByteBuffer()
    private var spare = ByteBuffer()
    private var failure: Failure?

    /// The library's transfers that have come, those that were settled or came settled, and those that credit was told for.
    private var received: UInt32 = 0
    private var answered: UInt32 = 0
    private var grantedAt: UInt32 = 0
    private let isSettled: Bool
    private let links: UInt32
    /// The links that are not attached yet.
    private var linksLeft: Int

    /// The transfers that are sent as soon as the library has granted credit.
    private let count: UInt32
    /// Whether each message is sent when the one before it is settled.
    private let isAlone: Bool
    private var transfers: TransferBurst
    private var sent: UInt32 = 0
    private var hasCredit = false
    /// The messages that the library has settled.
    private(set) var settled: UInt32 = 0

    /// - Parameters:
    ///   - isSettled: Whether the library sends its messages settled.
    ///   - count: How many transfers to send; a multiple of 64.
    ///   - message: What is in each.
    ///   - links: On how many links messages move; 64 at most.
    ///   - isStream: Whether 64 transfers are one message.
    ///   - isAlone: Whether each message is sent when the one before it is settled.
    init(
        isSettled: Bool = false,
        count: Int = 0,
        message: ByteBuffer = ByteBuffer(),
        links: Int = 1,
        isStream: Bool = false,
        isAlone: Bool = false
    ) {
        self.isSettled = isSettled
        self.count = UInt32(count)
        self.links = UInt32(links)
        self.linksLeft = links
        self.isAlone = isAlone
        self.burst = isAlone ? 1 : 64
        let transfers = count == 0 ? 0 : self.burst
        self.transfers = TransferBurst(message, count: transfers, links: self.links, isStream: isStream)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    // MARK: From the library

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var bytes = self.unwrapOutboundIn(data)
        if let promise { self.promises.append(promise) }
        if !self.hasHeader, bytes.readSlice(length: 8) != nil {
            self.hasHeader = true
            self.answers.writeBytes(Frames.header)
        }
        while self.failure == nil, bytes.readableBytes > 0 {
            guard let size = bytes.getInteger(at: bytes.readerIndex, as: UInt32.self),
                let frame = bytes.readSlice(length: Int(size))
            else { return self.failure = Failure("a write does not end with a frame") }
            do { try self.read(frame) } catch { self.failure = Failure("\(error)") }
        }
    }

    func flush(context: ChannelHandlerContext) {
        // As a socket with room: written at once. What completes may write and flush again.
        while !self.promises.isEmpty { self.promises.removeFirst().succeed() }
    }

    private func read(_ frame: ByteBuffer) throws {
        // An empty frame, or the code after 0x00 0x53.
        switch frame.getInteger(at: frame.readerIndex + 10, as: UInt8.self) {
        case Frames.transfer: if try Frames.isLast(frame) { self.received += 1 }
        case Frames.flow: self.hasCredit = self.linksLeft == 0
        case Frames.disposition: self.settled += try Frames.settledCount(frame)
        case Frames.attach?:
            let (handle, isSender) = try Frames.answerAttach(frame, &self.answers)
            let credit = self.links == 1 ? Self.credit : .max / 2
            if isSender { Frames.writeFlow(handle, received: 0, credit: credit, &self.answers) }
            self.linksLeft -= 1
        // A receiver closes with its last reference; the dialogue is over then.
        case Frames.detach, nil: break
        case let code?: try Frames.answer(code, &self.answers)
        }
    }

    // MARK: To the library

    /// Gives the library what waits for it. Returns whether there was anything.
    func turn() throws -> Bool {
        if let failure = self.failure { throw failure }
        if self.received > self.answered {
            if !self.isSettled { Frames.writeAccepted(self.answered, self.received - 1, &self.answers) }
            self.answered = self.received
        }
        if self.links == 1, self.received - self.grantedAt >= Self.credit / 2 {
            self.grantedAt = self.received
            Frames.writeFlow(received: self.received, credit: Self.credit, &self.answers)
        }
        guard self.answers.readableBytes == 0 else {
            // What the library writes meanwhile has answers of its own.
            swap(&self.answers, &self.spare)
            self.fire(self.spare)
            self.spare.clear()
            return true
        }
        guard self.hasCredit, self.sent < self.count, !self.isAlone || self.settled == self.sent else { return false }
        self.transfers.number(after: self.sent)
        self.sent += self.burst
        self.fire(self.transfers.bytes)
        return true
    }

    private func fire(_ bytes: ByteBuffer) {
        self.context?.fireChannelRead(self.wrapInboundOut(bytes))
        self.context?.fireChannelReadComplete()
    }
}
