// SPDX-License-Identifier: Apache-2.0

/// The messages of one sender, from acceptance to settlement, across any number of links.
///
/// A pure value without a clock: times are durations since any fixed moment. Messages leave in the order of their
/// acceptance. When a link is lost, the queue starts again from its first message. Messages in doubt come first,
/// because messages leave in order.
///
/// A message that a link can accept at once has no place in the queue, which only counts it: see
/// ``acceptOnLink(bytes:)``. It gets its place when its link is lost.
///
/// A link has a turn: it begins with ``begin()`` and is lost with the first failure or with ``end()``. The next turn
/// begins when every message of the last has been answered: see ``isAnswered``.
struct ReplayQueue<Content> {
    /// The bytes that each message counts in addition to its own, for its place in the queue.
    static var overhead: Int { 256 }

    let limits: Limits
    private(set) var counts = AMQPClient.Fates()
    /// The bytes of all messages, with their overhead.
    private(set) var used = 0
    private(set) var peak = 0
    /// Messages that wait to be sent again.
    private(set) var doubtful = 0
    /// Whether a link has its turn.
    private(set) var isOpen = false
    /// Whether the sender has ended: it does not send returned messages again.
    private(set) var hasEnded = false
    private var list = PlaceList<Figures>()
    /// The content of each message, by its place.
    private var contents: [Content?] = []
    /// The first message that the link of this turn has not received.
    private var cursor = -1
    /// The number of the next message.
    private(set) var nextSequence: UInt64 = 0
    /// The place of the last message that returned without a place; the next one usually follows it.
    private var lastReturned = -1
    /// The first message that returned in doubt in this turn.
    private var head: Key?
    private var poison: (sequence: UInt64, losses: Int)?
    private var isLossOpen = false
    private var finished: [Finished] = []

    init(_ limits: Limits = Limits()) {
        self.limits = limits
    }

    /// The messages in the queue and on the link.
    var count: Int { self.counts.queued + self.counts.inFlight }
    var isEmpty: Bool { self.count == 0 }
    /// Whether the last turn has reported every message.
    var isAnswered: Bool { self.counts.inFlight == 0 }

    /// The bytes of the messages that wait to be sent again.
    var doubtfulBytes: Int {
        var (slot, bytes) = (self.list.first, 0)
        while slot >= 0 {
            if let entry = self.list[slot], entry.isInDoubt { bytes += entry.bytes }
            slot = self.list.next(slot)
        }
        return bytes
    }

    /// Whether messages wait for the link of this turn.
    var hasNext: Bool { self.isOpen && self.cursor >= 0 }
    /// Whether enough room is free for waiting tasks to continue: an eighth of the limit, so that they do not wake for
    /// each message.
    var hasAmpleRoom: Bool { self.used <= self.limits.bytes - self.limits.bytes / 8 }

    /// Returns the bytes that a message counts with its overhead.
    static func charge(_ bytes: Int) -> Int { bytes + self.overhead }

    // MARK: Acceptance

    /// Returns whether a message fits. An oversized message fits an empty queue.
    func hasRoom(for bytes: Int) -> Bool {
        self.isEmpty || Self.charge(bytes) <= self.limits.bytes - self.used
    }

    /// Accepts a message, whether it fits or not.
    mutating func accept(
        _ content: Content,
        bytes: Int,
        deadline: Duration? = nil,
        isSettled: Bool = false
    ) -> Key {
        let figures = Figures(sequence: self.nextSequence, bytes: bytes, deadline: deadline, isSettled: isSettled)
        self.nextSequence += 1
        self.counts.handedOver += 1
        self.counts.queued += 1
        self.used += figures.charge
        self.peak = max(self.peak, self.used)
        let slot = self.list.append(figures)
        self.store(content, at: slot)
        if self.cursor < 0 { self.cursor = slot }
        return Key(slot: slot, sequence: figures.sequence)
    }

    private mutating func store(_ content: Content, at slot: Int) {
        if slot < self.contents.count { self.contents[slot] = content } else { self.contents.append(content) }
    }

    /// Counts a message that was refused.
    mutating func refuse(_ fate: AMQPError.Fate) {
        self.counts.handedOver += 1
        self.counts.count(fate)
    }

    /// Drops the oldest messages that have never left, until a message fits. Drops none if their room does not
    /// suffice.
    ///
    /// - Parameter least: The fewest bytes to free, with the overhead.
    mutating func dropOldest(for bytes: Int, freeing least: Int = 0) {
        let charge = Self.charge(bytes)
        let shortage = charge > self.limits.bytes ? self.used : charge - (self.limits.bytes - self.used)
        let needed = max(least, shortage)
        var (slot, slots, freed) = (self.list.first, [Int](), 0)
        while slot >= 0, freed < needed {
            if let entry = self.list[slot], !entry.isInFlight, entry.attempts == 0 {
                slots.append(slot)
                freed += entry.charge
            }
            slot = self.list.next(slot)
        }
        guard freed >= needed else { return }
        for slot in slots { self.finish(slot, .dropped, .dropped) }
    }

    // MARK: A turn

    /// Begins the turn of a link, after the last turn has reported every message.
    mutating func begin() {
        precondition(self.isAnswered && !self.isOpen, "a turn begins before the last has ended")
        self.isOpen = true
        self.cursor = self.list.first
        self.head = nil
    }

    /// Whether the link of this turn may receive a message ahead of the queue, because no message waits for the link.
    var isPassable: Bool { self.isOpen && self.cursor < 0 }

    /// Counts a message that the link of this turn has accepted at once. The caller keeps the message and its sequence
    /// number, until ``settleOnLink(bytes:_:)`` or ``returnFromLink(_:sequence:bytes:isSettled:)``.
    ///
    /// - Returns: The sequence number.
    mutating func acceptOnLink(bytes: Int) -> UInt64 {
        assert(self.isPassable, "the message overtakes the queue")
        defer { self.nextSequence += 1 }
        self.counts.handedOver += 1
        self.counts.inFlight += 1
        self.used += Self.charge(bytes)
        self.peak = max(self.peak, self.used)
        return self.nextSequence
    }

    /// Counts the outcome of a message without a place.
    mutating func settleOnLink(bytes: Int, _ outcome: AMQPOutcome) {
        self.counts.inFlight -= 1
        self.counts.count(outcome)
        self.used -= Self.charge(bytes)
        self.completeLoss()
    }

    /// Counts messages without a place that the peer has accepted.
    ///
    /// - Parameter bytes: The bytes of all messages, without their overhead.
    mutating func acceptedOnLink(_ count: Int, bytes: Int) {
        self.counts.inFlight -= count
        self.counts.accepted += count
        self.used -= bytes + count * Self.overhead
        self.completeLoss()
    }

    /// Gives a message its place, in order, after its link has reported its failure. The message still counts as on the
    /// link until the next call about it.
    mutating func returnFromLink(_ content: Content, sequence: UInt64, bytes: Int, isSettled: Bool) -> Key {
        var figures = Figures(sequence: sequence, bytes: bytes, deadline: nil, isSettled: isSettled)
        figures.isInFlight = true
        figures.attempts = 1
        // Links return messages nearly in order, so the place is near that of the message before.
        var previous = self.list[self.lastReturned] != nil ? self.lastReturned : self.list.last
        while previous >= 0, self.sequence(at: previous) > sequence { previous = self.list.previous(previous) }
        var next = previous >= 0 ? self.list.next(previous) : self.list.first
        while next >= 0, self.sequence(at: next) < sequence { (previous, next) = (next, self.list.next(next)) }
        let slot = self.list.insert(figures, after: previous)
        self.store(content, at: slot)
        self.lastReturned = slot
        return Key(slot: slot, sequence: sequence)
    }

    private func sequence(at slot: Int) -> UInt64 { self.list[slot]?.sequence ?? 0 }

    /// Returns the next message for the link; `nil` for none. Finishes expired messages instead of returning them.
    mutating func next(at now: Duration) -> (key: Key, entry: Entry)? {
        guard self.isOpen else { return nil }
        while self.cursor >= 0 {
            let slot = self.cursor
            if let deadline = self.list[slot]?.deadline, deadline <= now {
                self.expire(slot)
                continue
            }
            if self.list[slot]?.isInDoubt == true { self.doubtful -= 1 }
            self.list[slot]?.isInFlight = true
            self.list[slot]?.attempts += 1
            self.counts.queued -= 1
            self.counts.inFlight += 1
            self.cursor = self.list.next(slot)
            guard let entry = self.entry(at: slot) else { return nil }
            return (Key(slot: slot, sequence: entry.figures.sequence), entry)
        }
        return nil
    }

    /// Puts the last message back: it did not fit in the link.
    mutating func putBack(_ key: Key) {
        guard self.comeBack(key, hasLeft: false) else { return }
        self.cursor = key.slot
    }

    /// Removes a settled message.
    mutating func settle(_ key: Key, _ outcome: AMQPOutcome) -> Entry? {
        guard self.has(key) else { return nil }
        self.counts.count(outcome)
        defer { self.completeLoss() }
        return self.remove(key.slot)
    }

    /// Removes a message that failed by itself, without its link.
    ///
    /// - Returns: The message and its fate: a message in doubt remains so.
    mutating func fail(_ key: Key, _ fate: AMQPError.Fate) -> (entry: Entry, fate: AMQPError.Fate)? {
        guard let entry = self.entry(key) else { return nil }
        let fate = entry.figures.attempts > 1 ? .inDoubt : fate
        self.counts.count(fate)
        self.remove(key.slot)
        self.completeLoss()
        return (entry, fate)
    }

    /// Puts back a message of a lost link. Ends the turn.
    ///
    /// - Parameter fate: The fate that the link reported. The peer may have only a message in doubt.
    mutating func comeBack(_ key: Key, _ fate: AMQPError.Fate) {
        self.isOpen = false
        self.isLossOpen = true
        let hasLeft = fate == .inDoubt
        guard self.comeBack(key, hasLeft: hasLeft), let entry = self.list[key.slot] else { return }
        if hasLeft, self.head.map({ key.sequence < $0.sequence }) ?? true { self.head = key }
        if hasLeft, entry.isSettled || !self.limits.replays {
            self.finish(key.slot, .inDoubt, .lost)
        } else if self.hasEnded {
            self.finish(key.slot, entry.isInDoubt ? .inDoubt : fate, .ended)
        }
        self.completeLoss()
    }

    /// Ends the turn: the link is lost.
    mutating func end() {
        if self.isOpen { self.isLossOpen = true }
        self.isOpen = false
        self.completeLoss()
    }

    /// Completes a loss after all messages have returned. Finishes a message that was first in doubt too often.
    private mutating func completeLoss() {
        guard self.isLossOpen, self.isAnswered else { return }
        self.isLossOpen = false
        guard let head = self.head else { return }
        self.head = nil
        let losses = self.poison.map { $0.sequence == head.sequence ? $0.losses + 1 : 1 } ?? 1
        self.poison = (head.sequence, losses)
        guard losses >= self.limits.poison, self.has(head) else { return }
        self.finish(head.slot, .inDoubt, .poison(losses: losses))
    }

    // MARK: Without a link

    /// Removes a message that has never left.
    mutating func withdraw(_ key: Key) -> Entry? {
        guard self.has(key), let figures = self.list[key.slot], !figures.isInFlight, figures.attempts == 0 else {
            return nil
        }
        self.counts.count(.notSent)
        return self.remove(key.slot)
    }

    /// Finishes expired messages, and returns the next deadline of the others.
    mutating func expire(at now: Duration) -> Duration? {
        var earliest: Duration?
        var slot = self.list.first
        while slot >= 0 {
            let next = self.list.next(slot)
            if let entry = self.list[slot], !entry.isInFlight, let deadline = entry.deadline {
                if deadline <= now { self.expire(slot) } else { earliest = min(earliest ?? deadline, deadline) }
            }
            slot = next
        }
        return earliest
    }

    /// Ends the sender: finishes every message without a link now, and each other one when it returns.
    mutating func endAll() {
        self.hasEnded = true
        self.end()
        var slot = self.list.first
        while slot >= 0 {
            let next = self.list.next(slot)
            if let entry = self.list[slot], !entry.isInFlight {
                self.finish(slot, entry.isInDoubt ? .inDoubt : .notSent, .ended)
            }
            slot = next
        }
    }

    /// Returns and forgets the messages whose fate the queue has decided since the last call.
    mutating func takeFinished() -> [Finished] {
        if self.finished.isEmpty { return [] }
        defer { self.finished = [] }
        return self.finished
    }

    private func has(_ key: Key) -> Bool { self.list[key.slot]?.sequence == key.sequence }

    /// Returns the key of the message at a place; `nil` unless that message is on the link.
    func key(at place: Int) -> Key? {
        guard self.list[place]?.isInFlight == true, let sequence = self.list[place]?.sequence else { return nil }
        return Key(slot: place, sequence: sequence)
    }

    /// Returns the message of a key; `nil` after its removal.
    func entry(_ key: Key) -> Entry? {
        self.has(key) ? self.entry(at: key.slot) : nil
    }

    private func entry(at slot: Int) -> Entry? {
        guard let figures = self.list[slot], let content = self.contents[slot] else { return nil }
        return Entry(figures: figures, content: content)
    }

    // MARK: Parts

    private mutating func comeBack(_ key: Key, hasLeft: Bool) -> Bool {
        guard self.has(key), self.list[key.slot]?.isInFlight == true else { return false }
        self.list[key.slot]?.isInFlight = false
        if !hasLeft { self.list[key.slot]?.attempts -= 1 }
        self.counts.inFlight -= 1
        self.counts.queued += 1
        if self.list[key.slot]?.isInDoubt == true { self.doubtful += 1 }
        return true
    }

    private mutating func expire(_ slot: Int) {
        let isInDoubt = self.list[slot]?.isInDoubt ?? false
        self.finish(slot, isInDoubt ? .inDoubt : .expired, .expired)
    }

    private mutating func finish(_ slot: Int, _ fate: AMQPError.Fate, _ cause: Cause) {
        guard let entry = self.remove(slot) else { return }
        self.counts.count(fate)
        self.finished.append(Finished(entry: entry, fate: fate, cause: cause))
    }

    @discardableResult
    private mutating func remove(_ slot: Int) -> Entry? {
        let next = self.list.next(slot)
        guard let figures = self.list.remove(slot), let content = self.contents[slot].take() else { return nil }
        if figures.isInFlight { self.counts.inFlight -= 1 } else { self.counts.queued -= 1 }
        if figures.isInDoubt { self.doubtful -= 1 }
        self.used -= figures.charge
        if self.cursor == slot { self.cursor = next }
        // Releases the memory of a burst, as the list does.
        if self.list.first < 0, self.contents.count > 1_024 { self.contents = [] }
        return Entry(figures: figures, content: content)
    }
}

extension ReplayQueue: Sendable where Content: Sendable {}
