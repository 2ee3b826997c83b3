// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// A message that a task receives while it arrives. Its pieces wait here for the task that reads the body.
final class IncomingStream: Sendable {
    private let inbox: WaitingQueue<ByteBuffer>
    private let splitter: Mutex<BodySplitter>
    private let receiver: LinkStatus
    private let sequence: UInt64
    private let outbox: Outbox

    /// Creates a stream without pieces.
    ///
    /// - Parameters:
    ///   - receiver: The link on which the message arrives.
    ///   - sequence: The sequence of the message on the link.
    ///   - outbox: The destination of reports about read pieces, and about the end of the last reader.
    init(of receiver: LinkStatus, sequence: UInt64, outbox: Outbox) {
        self.receiver = receiver
        self.sequence = sequence
        self.outbox = outbox
        let report: @Sendable (Int) -> Void = { count in
            outbox.post(.receiver(receiver, .read(pieces: count, of: sequence)))
        }
        self.inbox = WaitingQueue(reportEvery: 1, report: report)
        self.splitter = Mutex(BodySplitter())
    }

    deinit { self.outbox.post(.receiver(self.receiver, .discard(self.sequence))) }

    // MARK: The loop's side

    func push(_ piece: ByteBuffer) {
        self.inbox.push(contentsOf: [WaitingQueue.Entry(element: piece, weight: piece.readableBytes, isReported: true)])
    }

    /// Ends the message, with an error if it is incomplete.
    func finish(_ error: AMQPError?) {
        self.inbox.finish(error)
    }

    /// Drops the unread pieces.
    func drop() {
        _ = self.inbox.removeAll()
    }

    // MARK: The tasks' side

    var footer: AMQPMap? { self.splitter.withLock { $0.footer } }

    /// Returns the next bytes of the body; `nil` at its end. Suspends until bytes arrive.
    func next() async throws(AMQPError) -> ByteBuffer? {
        if Task.isCancelled { throw AMQPError.cancelled }
        while true {
            if let bytes = try self.splitter.withLock({ (splitter) throws(AMQPError) in try splitter.next() }) {
                return bytes
            }
            guard let piece = try await self.inbox.next() else {
                try self.splitter.withLock { (splitter) throws(AMQPError) in try splitter.finish() }
                return nil
            }
            self.splitter.withLock { $0.append(piece) }
        }
    }
}

/// The loop's side of a message that a task receives while it arrives.
final class ArrivingStream {
    /// The tasks' side, which the delivery holds; `nil` once no task reads the message.
    private weak var stream: IncomingStream?
    /// The sequence of the delivery on its link.
    let sequence: UInt64
    /// The key of the delivery; `nil` if the sender had settled it.
    let slot: SlotKey?
    /// The part of the window that the start of the message uses.
    let weight: Int
    /// The sizes of the unread pieces, in order.
    private var sizes: Deque<Int> = []
    /// The number of received bytes of the message.
    private(set) var count: Int
    /// The number of unread bytes.
    private(set) var heldBytes = 0
    /// Whether the rest of the message is still outstanding.
    var isArriving = true
    /// Whether the stream drops later bytes, because the application has decided or no task reads the message any more.
    var isDiscarding = false
    /// Whether the application has decided, so that the delivery is settled once it is complete.
    var isDecided = false

    init(_ stream: IncomingStream, sequence: UInt64, slot: SlotKey?, count: Int, weight: Int) {
        self.stream = stream
        self.sequence = sequence
        self.weight = weight
        self.slot = slot
        self.count = count
    }

    func push(_ piece: ByteBuffer) {
        self.count += piece.readableBytes
        guard !self.isDiscarding, piece.readableBytes > 0 else { return }
        self.heldBytes += piece.readableBytes
        self.sizes.append(piece.readableBytes)
        self.stream?.push(piece)
    }

    /// Removes read pieces. Returns the number of their bytes.
    func taken(_ count: Int) -> Int {
        var bytes = 0
        for _ in 0..<count { bytes += self.sizes.popFirst() ?? 0 }
        self.heldBytes -= bytes
        return bytes
    }

    /// Drops all unread and later pieces. Returns the number of buffered bytes.
    func discard() -> Int {
        self.isDiscarding = true
        self.stream?.drop()
        defer {
            self.sizes = []
            self.heldBytes = 0
        }
        return self.heldBytes
    }

    func finish(_ error: AMQPError?) {
        self.isArriving = false
        self.stream?.finish(error)
    }
}
