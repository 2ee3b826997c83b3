// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The socket and the peer of a connection in memory. The peer writes its frames itself and allocates nothing for a
/// message, so that the counts contain only the library.
///
/// The peer accepts all messages and sends `count` messages. With one link it renews credit for ``credit`` messages;
/// with several links, each has credit for all messages from the start.
final class ScriptedPeer: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let credit: UInt32 = 1_000
    /// The number of transfers that the peer sends at a time.
    private let burst: UInt32

    private var context: ChannelHandlerContext?
    private var promises: [EventLoopPromise<Void>] = []
    private var hasHeader = false
    /// The bytes that wait for the library, and a spare buffer for the next ones.
    private var answers = ByteBuffer()
    private var spare = ByteBuffer()
    private var failure: Failure?

    /// The numbers of the library's transfers: received, settled, and covered by granted credit.
    private var received: UInt32 = 0
    private var answered: UInt32 = 0
    private var grantedAt: UInt32 = 0
    private let isSettled: Bool
    private let links: UInt32
    /// The number of links that are not attached yet.
    private var linksLeft: Int

    /// The number of transfers to send when the library has granted credit.
    private let count: UInt32
    /// Whether each message is sent when the previous one is settled.
    private let isAlone: Bool
    private var transfers: TransferBurst
    private var sent: UInt32 = 0
    private var hasCredit = false
    /// The number of messages that the library has settled.
    private(set) var settled: UInt32 = 0

    /// - Parameters:
    ///   - isSettled: Whether the library sends its messages settled.
    ///   - count: The number of transfers to send; a multiple of 64.
    ///   - message: The content of each transfer.
    ///   - links: The number of links; 64 at most.
    ///   - isStream: Whether 64 transfers are one message.
    ///   - isAlone: Whether each message is sent when the previous one is settled.
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
        // Writes complete at once, as with a socket that has room. A completion may write and flush again.
        while !self.promises.isEmpty { self.promises.removeFirst().succeed() }
    }

    private func read(_ frame: ByteBuffer) throws {
        // The frame is empty, or has its code after 0x00 0x53.
        switch frame.getInteger(at: frame.readerIndex + 10, as: UInt8.self) {
        case Frames.transfer: if try Frames.isLast(frame) { self.received += 1 }
        case Frames.flow: self.hasCredit = self.linksLeft == 0
        case Frames.disposition: self.settled += try Frames.settledCount(frame)
        case Frames.attach?:
            let (handle, isSender) = try Frames.answerAttach(frame, &self.answers)
            let credit = self.links == 1 ? Self.credit : .max / 2
            if isSender { Frames.writeFlow(handle, received: 0, credit: credit, &self.answers) }
            self.linksLeft -= 1
        // A receiver closes with its last reference, after the dialogue.
        case Frames.detach, nil: break
        case let code?: try Frames.answer(code, &self.answers)
        }
    }

    // MARK: To the library

    /// Gives the library the waiting bytes. Returns whether there were any.
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
            // Answers to frames that the library writes during this call go into the other buffer.
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
