internal import DequeModule

/// The backlog of a connection: one lane a sender, in turn among those that can move.
///
/// Nothing is taken from a lane without credit, nor from a session whose window is closed, so a lane that cannot move
/// costs the others nothing.
struct SendQueue<Link> {
    /// A piece of one message, to hand to Proton now: a plain value.
    struct Slice {
        let message: PendingMessage
        let range: Range<Int>
        var isFirst: Bool { self.range.lowerBound == 0 }
        let isLast: Bool
        /// What handing the piece over takes off the message's ``PendingMessage/ledgerBytes``.
        var ledgerBytes: Int { self.message.bytes.count == 0 ? 1 : self.range.count }
    }

    /// What waits to be sent on one link.
    final class Lane {
        let link: Link
        /// What the messages of the link name it by.
        let key: SlotKey
        fileprivate var backlog: Deque<PendingMessage> = []
        /// How much of the first message has been handed over.
        fileprivate var offset = 0
        /// Whether the first message has begun: its credit is taken, though it may be empty.
        fileprivate(set) var isMidMessage = false
        /// How many messages may begin.
        fileprivate(set) var credit = 0
        fileprivate var isReady = false
        fileprivate var isBlocked = false

        fileprivate init(_ link: Link, _ key: SlotKey) {
            self.link = link
            self.key = key
        }

        var isEmpty: Bool { self.backlog.isEmpty }
        fileprivate var canMove: Bool {
            !self.isBlocked && !self.backlog.isEmpty && (self.isMidMessage || self.credit > 0)
        }

        /// Takes the next piece, of at most `limit` bytes; nil when the lane cannot move.
        func next(limit: Int) -> Slice? {
            guard self.canMove, let message = self.backlog.first else { return nil }
            if !self.isMidMessage { self.credit -= 1 }
            let size = message.bytes.count
            let end = min(size, self.offset + max(1, limit))
            let slice = Slice(message: message, range: self.offset..<end, isLast: end == size)
            self.isMidMessage = !slice.isLast
            self.offset = slice.isLast ? 0 : end
            if slice.isLast { self.backlog.removeFirst() }
            return slice
        }
    }

    private var lanes = SlotMap<Lane>()
    private var ready: Deque<Lane> = []

    mutating func addLane(_ link: Link) -> Lane {
        self.lanes.insert { Lane(link, $0) }
    }

    /// Takes a lane away; returns what had not begun to be sent. The message that had begun has been dropped before.
    mutating func removeLane(_ lane: Lane) -> Deque<PendingMessage> {
        self.ready.removeAll { $0 === lane }
        self.lanes.remove(lane.key)
        defer { lane.backlog = [] }
        return lane.backlog
    }

    /// The lane with a key, if it is there still.
    func lane(_ key: SlotKey) -> Lane? { self.lanes[key] }

    /// Puts messages behind the others of their lane.
    mutating func enqueue(_ messages: some Sequence<PendingMessage>, on lane: Lane) {
        for message in messages { lane.backlog.append(message) }
        self.makeReadyIfMovable(lane)
    }

    /// Takes a message out that has not begun. Returns it, or nil when it has begun or is not there.
    mutating func remove(_ reply: OutcomeReply, from lane: Lane) -> PendingMessage? {
        guard let index = lane.backlog.firstIndex(where: { $0.outcome.belongs(to: reply) }),
            index > 0 || !lane.isMidMessage
        else { return nil }
        return lane.backlog.remove(at: index)
    }

    /// Sets how many messages may begin on a lane.
    mutating func setCredit(_ credit: Int, on lane: Lane) {
        lane.credit = max(0, credit)
        self.makeReadyIfMovable(lane)
    }

    /// Stops or frees a lane, as the window of its session closes or opens.
    mutating func setBlocked(_ isBlocked: Bool, on lane: Lane) {
        lane.isBlocked = isBlocked
        self.makeReadyIfMovable(lane)
    }

    /// Drops the rest of the message that has begun. Returns it, and what of its ledger bytes had not been handed over.
    mutating func dropCurrent(_ lane: Lane) -> (message: PendingMessage, rest: Int)? {
        guard lane.isMidMessage, let message = lane.backlog.popFirst() else { return nil }
        let rest = message.ledgerBytes - lane.offset
        lane.offset = 0
        lane.isMidMessage = false
        self.makeReadyIfMovable(lane)
        return (message, rest)
    }

    /// Whether a lane may be able to move.
    var hasReadyLane: Bool { !self.ready.isEmpty }

    /// The next lane in turn that can move, or nil. Take slices from it, then call ``yield(_:)``.
    mutating func nextLane() -> Lane? {
        while let lane = self.ready.popFirst() {
            lane.isReady = false
            if lane.canMove { return lane }
        }
        return nil
    }

    /// Puts a lane behind the others, if it can still move.
    mutating func yield(_ lane: Lane) {
        self.makeReadyIfMovable(lane)
    }

    private mutating func makeReadyIfMovable(_ lane: Lane) {
        guard !lane.isReady, lane.canMove else { return }
        lane.isReady = true
        self.ready.append(lane)
    }
}
