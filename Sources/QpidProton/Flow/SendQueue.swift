// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

// rooms: PendingMessage, StreamPart, MessageBytes, OutcomeReply: plain values; the queue moves them, and asks for their sizes.

/// The backlog of a connection: one lane for each sender. The queue chooses the next movable lane by priority.
///
/// A lane without credit or with a closed window yields no message, so a stalled lane costs other lanes nothing. Higher
/// priorities move first, except for a share that saves lower priorities from starving. Lanes of one priority take
/// turns in proportion to their weights (deficit round robin).
struct SendQueue<Link> {
    /// The bytes of one turn for a lane of weight 1.
    static var quantum: Int { 16_384 }

    /// A piece of one message for Proton. It is a plain value.
    struct Slice {
        let message: PendingMessage
        /// The bytes of the message, or of one of its parts.
        let bytes: MessageBytes
        let range: Range<Int>
        let isFirst: Bool
        let isLast: Bool
        /// Whether the bytes can be freed once Proton has the piece.
        var endsBytes: Bool { self.range.upperBound == self.bytes.count }
        /// The number of bytes that leave the ledgers with the piece.
        var ledgerBytes: Int { self.bytes.count == 0 ? 1 : self.range.count }
    }

    /// The messages that wait on one link.
    final class Lane {
        let link: Link
        /// The key by which the messages of the link name the lane.
        let key: SlotKey
        fileprivate let priority: Int
        fileprivate let weight: Int
        /// The waiting messages. Exclusivity checks are off, because they cost a twentieth of a message's instructions.
        /// Only short steps of the queue use the backlog.
        @exclusivity(unchecked) var backlog: Deque<PendingMessage> = []
        /// The number of bytes of the first message, or of its next part, that Proton has.
        var offset = 0
        /// The waiting parts of messages that are created while they are sent, by their number.
        var streams: [UInt32: Deque<StreamPart>] = [:]
        /// Whether Proton has the start of a message that is created while it is sent, so that its parts follow.
        var isInParts = false
        /// Whether no part of this message waits.
        var isDry = false
        /// Whether the first message has started. It uses credit even if it is empty.
        var isMidMessage = false
        /// The number of messages that may start.
        fileprivate(set) var credit = 0
        /// Whether the peer has revoked exactly the credit of the started message. Proton, whose count is unsigned,
        /// would not frame the rest of the message.
        fileprivate var isHeld = false
        /// Whether the peer would grant more credit if it settled sent messages.
        fileprivate var isCapped = false
        fileprivate var isReady = false
        fileprivate var isBlocked = false
        /// Whether the rate limit of the link allows no more bytes now.
        fileprivate var isPaced = false

        /// The number of remaining bytes of the lane's turn.
        fileprivate(set) var allowance = 0
        /// Whether the lane has its turn while a higher priority could move.
        fileprivate var isOutOfOrder = false

        fileprivate init(_ link: Link, _ key: SlotKey, _ priority: Int, _ weight: Int) {
            self.link = link
            self.key = key
            self.priority = priority
            self.weight = weight
        }

        var isEmpty: Bool { self.backlog.isEmpty }
        /// The messages that Proton does not have completely, in order.
        var waiting: some Collection<PendingMessage> { self.backlog }
        var canMove: Bool {
            !self.isBlocked && !self.isPaced && !self.backlog.isEmpty
                && (self.isMidMessage ? !self.isHeld && !self.isDry : self.credit > 0)
        }

        /// The work of the lane, and its missing resources.
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

        /// Returns the next piece, of at most `limit` bytes; `nil` if the lane cannot move.
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
    /// A bit for each priority with a lane that may move.
    private var readyPriorities: UInt16 = 0
    /// The share of the bytes for lower priorities while a higher priority could use all bytes.
    private let lowShare: Double
    /// The number of bytes that lower priorities have earned.
    private var lowAllowance = 0.0
    private var lastLow = 0

    init(lowShare: Double = 0) {
        self.lowShare = min(max(0, lowShare), 0.5)
    }

    /// Adds a lane.
    ///
    /// - Parameters:
    ///   - priority: The priority, from 0 to 9 (the highest).
    ///   - weight: The weight of the lane among the lanes of its priority.
    mutating func addLane(_ link: Link, priority: Int = 4, weight: Int = 1) -> Lane {
        self.lanes.insert { Lane(link, $0, min(max(0, priority), 9), max(1, weight)) }
    }

    /// Removes a lane. Returns its messages that had not started. The caller has dropped the started message before.
    mutating func removeLane(_ lane: Lane) -> Deque<PendingMessage> {
        self.ready[lane.priority].removeAll { $0 === lane }
        if self.ready[lane.priority].isEmpty { self.readyPriorities &= ~(1 << lane.priority) }
        self.lanes.remove(lane.key)
        defer { lane.backlog = [] }
        return lane.backlog
    }

    /// Returns the lane with a key, if it still exists.
    func lane(_ key: SlotKey) -> Lane? { self.lanes[key] }

    /// Appends messages to their lane.
    mutating func enqueue(_ messages: some Sequence<PendingMessage>, on lane: Lane) {
        for message in messages { self.append(message, to: lane) }
        self.makeReadyIfMovable(lane)
    }

    /// Appends a message to its lane. Call ``makeReadyIfMovable(_:first:)`` after the last message.
    @inline(__always)
    mutating func append(_ message: PendingMessage, to lane: Lane) {
        lane.backlog.append(message)
        if message.stream != 0 { lane.streams[message.stream] = [] }
    }

    /// Removes a message that has not started. Returns `nil` if the message has started, or is not in the lane.
    mutating func remove(_ reply: OutcomeReply, from lane: Lane) -> PendingMessage? {
        guard let index = lane.backlog.firstIndex(where: { $0.outcome.belongs(to: reply) }),
            index > 0 || !lane.isMidMessage
        else { return nil }
        return lane.backlog.remove(at: index)
    }

    /// Removes all messages that have not started and for which `body` is true.
    mutating func removeAll(from lane: Lane, where body: (PendingMessage) -> Bool) -> [PendingMessage] {
        let first = lane.isMidMessage ? lane.backlog.popFirst() : nil
        let removed = Array(lane.backlog.filter(body))
        if !removed.isEmpty { lane.backlog.removeAll(where: body) }
        if let first { lane.backlog.prepend(first) }
        return removed
    }

    /// Removes the oldest messages that have not started, until they free `bytes` bytes. Returns `nil` and removes no
    /// message if all of them free fewer.
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

    /// Sets the number of messages that may start on a lane, and whether the started message must wait.
    mutating func setCredit(_ credit: Int, isHeld: Bool = false, isCapped: Bool = false, on lane: Lane) {
        lane.credit = max(0, credit)
        lane.isCapped = isCapped
        lane.isHeld = isHeld
        self.makeReadyIfMovable(lane)
    }

    /// Stops or resumes a lane when the window of its session closes or opens.
    mutating func setBlocked(_ isBlocked: Bool, on lane: Lane) {
        lane.isBlocked = isBlocked
        self.makeReadyIfMovable(lane)
    }

    /// Stops or resumes a lane by its rate limit.
    mutating func setPaced(_ isPaced: Bool, on lane: Lane) {
        lane.isPaced = isPaced
        self.makeReadyIfMovable(lane)
    }

    /// Drops the rest of the started message. Returns the message, whose bytes are freed, and its remaining weight in
    /// the ledgers.
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

    /// Returns the next lane that can move; `nil` if there is none.
    ///
    /// Request slices of the lane, up to its ``Lane/allowance`` if another lane is ready. Then call ``yield(_:used:)``.
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
        // The lower priorities take turns, starting with the highest of them.
        let priority = Self.highest(of: lower & ((1 << self.lastLow) - 1)) ?? Self.highest(of: lower) ?? highest
        self.lastLow = priority
        return (priority, true)
    }

    private static func highest(of priorities: UInt16) -> Int? {
        priorities == 0 ? nil : UInt16.bitWidth - 1 - priorities.leadingZeroBitCount
    }

    /// Ends a lane's turn, or interrupts the turn if a part of it remains.
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
