internal import DequeModule

// rooms: PendingMessage, StreamPart, MessageBytes, OutcomeReply: plain values; the queue moves them, and asks for their sizes.

/// The backlog of a connection: one lane a sender, of which the next that can move is chosen by priority.
///
/// Nothing is taken from a lane without credit, nor from a session whose window is closed, so a lane that cannot move
/// costs the others nothing. Higher priorities go first, but for a share that keeps the lower ones from starving; lanes of
/// one priority take turns in proportion to their weights (deficit round robin).
struct SendQueue<Link> {
    /// What a lane of weight 1 may hand over in one turn, in bytes.
    static var quantum: Int { 16_384 }

    /// A piece of one message, to hand to Proton now: a plain value.
    struct Slice {
        let message: PendingMessage
        /// Those of the message, or of one of its parts.
        let bytes: MessageBytes
        let range: Range<Int>
        let isFirst: Bool
        let isLast: Bool
        /// Whether the bytes are of no more use when the piece has been handed over.
        var endsBytes: Bool { self.range.upperBound == self.bytes.count }
        /// What handing the piece over takes off the ledgers.
        var ledgerBytes: Int { self.bytes.count == 0 ? 1 : self.range.count }
    }

    /// What waits to be sent on one link.
    final class Lane {
        let link: Link
        /// What the messages of the link name it by.
        let key: SlotKey
        fileprivate let priority: Int
        fileprivate let weight: Int
        /// Not checked for overlapping accesses, which took a part in twenty of a message's instructions: it is private to the
        /// queue's own short steps.
        @exclusivity(unchecked) var backlog: Deque<PendingMessage> = []
        /// How much of the first message, or of the part of it that comes next, has been handed over.
        var offset = 0
        /// The parts that wait of messages that are made while they are sent, by their number.
        var streams: [UInt32: Deque<StreamPart>] = [:]
        /// The beginning of the message that is made while it is sent has been handed over: its parts follow.
        var isInParts = false
        /// No part of it waits.
        var isDry = false
        /// Whether the first message has begun: its credit is taken, though it may be empty.
        var isMidMessage = false
        /// How many messages may begin.
        fileprivate(set) var credit = 0
        /// The peer has taken back the credit of the message that has begun, and no more: Proton, which counts without a sign,
        /// would not frame the rest of it.
        fileprivate var isHeld = false
        /// There would be more credit, had the peer settled what was sent.
        fileprivate var isCapped = false
        fileprivate var isReady = false
        fileprivate var isBlocked = false
        /// The rate limit of the link allows no more now.
        fileprivate var isPaced = false

        /// What is left of the lane's turn, in bytes.
        fileprivate(set) var allowance = 0
        /// The lane has its turn while one of a higher priority could move.
        fileprivate var isOutOfOrder = false

        fileprivate init(_ link: Link, _ key: SlotKey, _ priority: Int, _ weight: Int) {
            self.link = link
            self.key = key
            self.priority = priority
            self.weight = weight
        }

        var isEmpty: Bool { self.backlog.isEmpty }
        /// The messages that have not been handed over to their end, in order.
        var waiting: some Collection<PendingMessage> { self.backlog }
        var canMove: Bool {
            !self.isBlocked && !self.isPaced && !self.backlog.isEmpty
                && (self.isMidMessage ? !self.isHeld && !self.isDry : self.credit > 0)
        }

        /// What the lane has, and what it lacks.
        var state: LaneState {
            LaneState(
                isEmpty: self.backlog.isEmpty || self.isDry,
                isMidMessage: self.isMidMessage,
                credit: self.credit,
                isCapped: self.isCapped,
                isHeld: self.isHeld,
                isBlocked: self.isBlocked,
                isPaced: self.isPaced
            )
        }

        /// Takes the next piece, of at most `limit` bytes; `nil` when the lane cannot move.
        func next(limit: Int) -> Slice? {
            guard self.canMove, let message = self.backlog.first else { return nil }
            if !self.isMidMessage {
                self.credit -= 1
                self.isHeld = false
            }
            if message.stream != 0 { return self.nextOfStream(message, limit) }
            let size = message.bytes.count
            let end = min(size, self.offset + max(1, limit))
            let isFirst = !self.isMidMessage
            self.isMidMessage = end < size
            let slice = Slice(
                message: message,
                bytes: message.bytes,
                range: self.offset..<end,
                isFirst: isFirst,
                isLast: !self.isMidMessage
            )
            self.offset = self.isMidMessage ? end : 0
            if !self.isMidMessage { self.backlog.removeFirst() }
            return slice
        }
    }

    private var lanes = SlotMap<Lane>()
    private var ready: [Deque<Lane>] = Array(repeating: [], count: 10)
    /// A bit for each priority that has a lane which may move.
    private var readyPriorities: UInt16 = 0
    /// The part of the bytes that lower priorities get while a higher one could use all.
    private let lowShare: Double
    /// The bytes that lower priorities have earned.
    private var lowAllowance = 0.0
    private var lastLow = 0

    init(lowShare: Double = 0) {
        self.lowShare = min(max(0, lowShare), 0.5)
    }

    /// Adds a lane.
    ///
    /// - Parameters:
    ///   - priority: 0 to 9, the highest.
    ///   - weight: How much the lane gets beside others of its priority.
    mutating func addLane(_ link: Link, priority: Int = 4, weight: Int = 1) -> Lane {
        self.lanes.insert { Lane(link, $0, min(max(0, priority), 9), max(1, weight)) }
    }

    /// Takes a lane away; returns what had not begun to be sent. The message that had begun has been dropped before.
    mutating func removeLane(_ lane: Lane) -> Deque<PendingMessage> {
        self.ready[lane.priority].removeAll { $0 === lane }
        if self.ready[lane.priority].isEmpty { self.readyPriorities &= ~(1 << lane.priority) }
        self.lanes.remove(lane.key)
        defer { lane.backlog = [] }
        return lane.backlog
    }

    /// The lane with a key, if it is there still.
    func lane(_ key: SlotKey) -> Lane? { self.lanes[key] }

    /// Puts messages behind the others of their lane.
    mutating func enqueue(_ messages: some Sequence<PendingMessage>, on lane: Lane) {
        for message in messages { self.append(message, to: lane) }
        self.makeReadyIfMovable(lane)
    }

    /// Puts a message behind the others of its lane. ``makeReadyIfMovable(_:first:)`` follows the last.
    @inline(__always)
    mutating func append(_ message: PendingMessage, to lane: Lane) {
        lane.backlog.append(message)
        if message.stream != 0 { lane.streams[message.stream] = [] }
    }

    /// Takes a message out that has not begun. Returns it, or `nil` when it has begun or is not there.
    mutating func remove(_ reply: OutcomeReply, from lane: Lane) -> PendingMessage? {
        guard let index = lane.backlog.firstIndex(where: { $0.outcome.belongs(to: reply) }),
            index > 0 || !lane.isMidMessage
        else { return nil }
        return lane.backlog.remove(at: index)
    }

    /// Takes out all messages that have not begun and for which `body` is true.
    mutating func removeAll(from lane: Lane, where body: (PendingMessage) -> Bool) -> [PendingMessage] {
        let first = lane.isMidMessage ? lane.backlog.popFirst() : nil
        let removed = Array(lane.backlog.filter(body))
        if !removed.isEmpty { lane.backlog.removeAll(where: body) }
        if let first { lane.backlog.prepend(first) }
        return removed
    }

    /// Takes the oldest messages out that have not begun, until they make up for that many bytes; nil, and none, if they do not.
    mutating func removeOldest(_ bytes: Int, from lane: Lane) -> [PendingMessage]? {
        let start = lane.isMidMessage ? 1 : 0
        var end = start
        var rest = bytes
        while rest > 0, end < lane.backlog.count {
            rest -= lane.backlog[end].ledgerBytes
            end += 1
        }
        guard rest <= 0 else { return nil }
        defer { lane.backlog.removeSubrange(start..<end) }
        return Array(lane.backlog[start..<end])
    }

    /// Sets how many messages may begin on a lane, and whether the one that has begun must wait.
    mutating func setCredit(_ credit: Int, isHeld: Bool = false, isCapped: Bool = false, on lane: Lane) {
        lane.credit = max(0, credit)
        lane.isCapped = isCapped
        lane.isHeld = isHeld
        self.makeReadyIfMovable(lane)
    }

    /// Stops or frees a lane, as the window of its session closes or opens.
    mutating func setBlocked(_ isBlocked: Bool, on lane: Lane) {
        lane.isBlocked = isBlocked
        self.makeReadyIfMovable(lane)
    }

    /// Stops or frees a lane, as its rate limit says.
    mutating func setPaced(_ isPaced: Bool, on lane: Lane) {
        lane.isPaced = isPaced
        self.makeReadyIfMovable(lane)
    }

    /// Drops the rest of the message that has begun. Returns it, its bytes given back, and what had not been handed over of
    /// what it counts in the ledgers.
    mutating func dropCurrent(_ lane: Lane) -> (message: PendingMessage, rest: Int)? {
        guard lane.isMidMessage, let message = lane.backlog.popFirst() else { return nil }
        var rest = -lane.offset
        if !lane.isInParts {
            rest += message.ledgerBytes
            message.bytes.done()
        }
        rest += lane.dropParts(of: message)
        lane.beginAnew()
        self.makeReadyIfMovable(lane)
        return (message, rest)
    }

    /// Whether a lane may be able to move.
    var hasReadyLane: Bool { self.readyPriorities != 0 }

    /// The next lane that can move, or `nil`.
    ///
    /// Take slices from it, up to its ``Lane/allowance`` if another lane is ready, then call ``yield(_:used:)``.
    mutating func nextLane() -> Lane? {
        while let (priority, isOutOfOrder) = self.nextPriority() {
            let lane = self.ready[priority].removeFirst()
            if self.ready[priority].isEmpty { self.readyPriorities &= ~(1 << priority) }
            lane.isReady = false
            guard lane.canMove else { continue }
            lane.isOutOfOrder = isOutOfOrder
            if lane.allowance <= 0 { lane.allowance = Self.quantum * lane.weight }
            return lane
        }
        return nil
    }

    private mutating func nextPriority() -> (priority: Int, isOutOfOrder: Bool)? {
        guard let highest = Self.highest(of: self.readyPriorities) else { return nil }
        let lower = self.readyPriorities & ((1 << highest) - 1)
        guard lower != 0, self.lowAllowance >= Double(Self.quantum) else { return (highest, false) }
        // The lower ones in turn, from the top down.
        let priority = Self.highest(of: lower & ((1 << self.lastLow) - 1)) ?? Self.highest(of: lower) ?? highest
        self.lastLow = priority
        return (priority, true)
    }

    private static func highest(of priorities: UInt16) -> Int? {
        priorities == 0 ? nil : UInt16.bitWidth - 1 - priorities.leadingZeroBitCount
    }

    /// Ends a lane's turn, or interrupts it when it has something left of it.
    mutating func yield(_ lane: Lane, used bytes: Int) {
        lane.allowance = max(0, lane.allowance - bytes)
        if lane.isOutOfOrder {
            self.lowAllowance -= Double(bytes)
        } else if self.readyPriorities & ((1 << lane.priority) - 1) != 0 {
            let earned = Double(bytes) * self.lowShare / (1 - self.lowShare)
            self.lowAllowance = min(self.lowAllowance + earned, Double(4 * Self.quantum))
        }
        if lane.isEmpty { lane.allowance = 0 }
        self.makeReadyIfMovable(lane, first: lane.allowance > 0)
    }

    mutating func makeReadyIfMovable(_ lane: Lane, first: Bool = false) {
        guard !lane.isReady, lane.canMove else { return }
        lane.isReady = true
        self.readyPriorities |= 1 << lane.priority
        if first {
            self.ready[lane.priority].prepend(lane)
        } else {
            self.ready[lane.priority].append(lane)
        }
    }
}
