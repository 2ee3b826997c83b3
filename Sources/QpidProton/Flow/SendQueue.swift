internal import DequeModule
internal import NIOCore

/// A message that the ledger has admitted and that has not been handed to Proton yet.
struct PendingMessage: Sendable {
    let bytes: ByteBuffer
    let transfer: OutcomeReply
    let isSettled: Bool

    /// What the message counts in the ledgers. An empty one counts too, so that their number is bounded.
    var ledgerBytes: Int { max(1, self.bytes.readableBytes) }
}

/// The backlog of a connection: one lane a sender, in turn among those that can move.
///
/// Nothing is taken from a lane without credit, nor from a session whose window is closed, so a lane that cannot move
/// costs the others nothing.
struct SendQueue<Link> {
    typealias Lane = SlotKey

    /// A piece of one message, to hand to Proton now.
    struct Slice {
        let message: PendingMessage
        let range: Range<Int>
        var isFirst: Bool { self.range.lowerBound == 0 }
        let isLast: Bool
        /// What handing the piece over takes off the message's ``PendingMessage/ledgerBytes``.
        var ledgerBytes: Int { self.message.bytes.readableBytes == 0 ? 1 : self.range.count }
    }

    fileprivate struct State {
        let link: Link
        var backlog: Deque<PendingMessage> = []
        /// How much of the first message has been handed over.
        var offset = 0
        /// Whether the first message has begun: its credit is taken, though it may be empty.
        var isMidMessage = false
        var credit = 0
        var isReady = false
        var isBlocked = false

        var canMove: Bool { !self.isBlocked && !self.backlog.isEmpty && (self.isMidMessage || self.credit > 0) }
    }

    private var lanes = SlotMap<State>()
    private var ready: Deque<Lane> = []

    mutating func addLane(_ link: Link) -> Lane {
        self.lanes.insert(State(link: link))
    }

    func link(_ lane: Lane) -> Link? {
        self.lanes[lane]?.link
    }

    /// Takes a lane away; returns what had not begun to be sent. The message that had begun has been dropped before.
    mutating func removeLane(_ lane: Lane) -> Deque<PendingMessage> {
        self.ready.removeAll { $0 == lane }
        return self.lanes.remove(lane)?.backlog ?? []
    }

    mutating func enqueue(_ message: PendingMessage, on lane: Lane) {
        self.lanes[lane]?.backlog.append(message)
        self.makeReadyIfMovable(lane)
    }

    /// Takes a message out that has not begun. Returns it, or nil when it has begun or is not there.
    mutating func remove(_ transfer: OutcomeReply, from lane: Lane) -> PendingMessage? {
        guard let state = self.lanes[lane],
            let index = state.backlog.firstIndex(where: { $0.transfer === transfer }),
            index > 0 || !state.isMidMessage
        else { return nil }
        return self.lanes[lane]?.backlog.remove(at: index)
    }

    /// Sets how many messages may begin on a lane.
    mutating func setCredit(_ credit: Int, on lane: Lane) {
        self.lanes[lane]?.credit = max(0, credit)
        self.makeReadyIfMovable(lane)
    }

    /// Stops or frees a lane, as the window of its session closes or opens.
    mutating func setBlocked(_ isBlocked: Bool, on lane: Lane) {
        self.lanes[lane]?.isBlocked = isBlocked
        self.makeReadyIfMovable(lane)
    }

    /// Drops the rest of the message that has begun. Returns it, and what of its ledger bytes had not been handed over.
    mutating func dropCurrent(_ lane: Lane) -> (message: PendingMessage, rest: Int)? {
        guard self.isMidMessage(lane), let message = self.lanes[lane]?.backlog.popFirst() else { return nil }
        let rest = message.ledgerBytes - (self.lanes[lane]?.offset ?? 0)
        self.lanes[lane]?.offset = 0
        self.lanes[lane]?.isMidMessage = false
        self.makeReadyIfMovable(lane)
        return (message, rest)
    }

    func credit(_ lane: Lane) -> Int { self.lanes[lane]?.credit ?? 0 }
    func isEmpty(_ lane: Lane) -> Bool { self.lanes[lane]?.backlog.isEmpty ?? true }
    func isMidMessage(_ lane: Lane) -> Bool { self.lanes[lane]?.isMidMessage ?? false }

    /// Whether a lane may be able to move.
    var hasReadyLane: Bool { !self.ready.isEmpty }

    /// The next lane in turn that can move, or nil. Call ``next(_:limit:)`` on it, then ``yield(_:)``.
    mutating func nextLane() -> Lane? {
        while let lane = self.ready.popFirst() {
            self.lanes[lane]?.isReady = false
            if self.lanes[lane]?.canMove == true { return lane }
        }
        return nil
    }

    /// Takes the next piece from a lane, of at most `limit` bytes; nil when the lane cannot move.
    mutating func next(_ lane: Lane, limit: Int) -> Slice? {
        self.lanes[lane]?.take(limit: limit)
    }

    /// Puts a lane behind the others, if it can still move.
    mutating func yield(_ lane: Lane) {
        self.makeReadyIfMovable(lane)
    }

    private mutating func makeReadyIfMovable(_ lane: Lane) {
        guard self.lanes[lane]?.canMove == true, self.lanes[lane]?.isReady == false else { return }
        self.lanes[lane]?.isReady = true
        self.ready.append(lane)
    }
}

extension SendQueue.State {
    fileprivate mutating func take(limit: Int) -> SendQueue<Link>.Slice? {
        guard self.canMove, let size = self.backlog.first?.bytes.readableBytes else { return nil }
        if !self.isMidMessage { self.credit -= 1 }
        let end = min(size, self.offset + max(1, limit))
        let range = self.offset..<end
        guard end < size else {
            self.offset = 0
            self.isMidMessage = false
            return SendQueue<Link>.Slice(message: self.backlog.removeFirst(), range: range, isLast: true)
        }
        self.offset = end
        self.isMidMessage = true
        return self.backlog.first.map { SendQueue<Link>.Slice(message: $0, range: range, isLast: false) }
    }
}
