// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// A tree of ledgers (connection, sessions, links) before the send queue, with the waiters of each link.
///
/// An item passes if every ledger from its link to the root admits it. Items of one link pass in order. When a ledger
/// falls to its low watermark, the gate tries waiting links again in turn. While a message passes in parts, only its
/// parts pass at its link. Other items would wait behind it, in room that its parts need.
struct SendGate<Waiter> {
    typealias Node = SlotKey

    /// A waiter with its bytes.
    private struct Waiting {
        let bytes: Int
        let part: MessagePart
        let waiter: Waiter
    }

    /// A level of the tree: a plain value, because every message reads it. The gate stores the waiters elsewhere.
    private struct Level {
        var ledger: ByteLedger
        let parent: Node?
        /// Whether the level is closed. A closed level admits no items, and is removed with its last bytes.
        var isClosed = false
        /// The number of the message whose first part has passed and whose last part has not; 0 if there is none.
        var message: UInt32 = 0
        /// Whether the level has an ``AdmissionTuner``.
        var isTuned = false
        /// Whether the holder of the link's messages counts them in the budget. The gate then does not count them.
        var isPrepaid = false

        /// Changes the level; returns its parent.
        mutating func apply(_ body: (inout Self) -> Void) -> Node? {
            body(&self)
            return self.parent
        }
    }

    enum Admission: Equatable {
        case admitted
        case full(SendRefusal.Level)
        case closed
    }

    private var levels = SlotMap<Level>()
    private var waiters: [Node: WaitList<UInt64, Waiting>] = [:]
    private var waitingLinks: Deque<Node> = []
    /// The tuners of the links with automatic limits.
    private var tuners: [Node: AdmissionTuner] = [:]
    /// The budget shared with other connections, after the levels of this connection.
    var share: BudgetShare?

    /// - Parameters:
    ///   - isAutomatic: Whether the limit tunes itself, up to that of the ledger.
    ///   - isPrepaid: Whether the holder of the link's messages counts them in the budget.
    mutating func addLevel(
        _ ledger: ByteLedger,
        parent: Node?,
        isAutomatic: Bool = false,
        isPrepaid: Bool = false
    ) -> Node {
        let level = Level(ledger: ledger, parent: parent, isTuned: isAutomatic, isPrepaid: isPrepaid)
        let node = self.levels.insert(level)
        if isAutomatic { self.tuners[node] = AdmissionTuner(ceiling: ledger.high) }
        return node
    }

    var hasTuners: Bool { !self.tuners.isEmpty }

    /// Returns the limit of a link for items that may wait; `nil` for the limit of its ledger.
    func tunedLimit(_ link: Node) -> Int? { self.tuners[link]?.limit }

    /// Tunes the limit of a link after a release of its bytes. Returns the items that pass now.
    ///
    /// - Parameters:
    ///   - left: The remaining bytes of the link.
    ///   - wasWaiting: Whether tasks waited for room at the link until then.
    ///   - credit: The peer's remaining credit, in messages.
    mutating func tune(
        _ link: Node,
        released bytes: Int,
        left: Int,
        wasWaiting: Bool,
        credit: Int,
        at now: Int64
    ) -> [Waiter] {
        guard var tuner = self.tuners[link] else { return [] }
        let isChanged = tuner.release(bytes, left: left, wasWaiting: wasWaiting, credit: credit, at: now)
        self.tuners[link] = tuner
        guard isChanged else { return [] }
        self.levels[link]?.ledger.setMarks(high: tuner.limit, low: tuner.low)
        return self.levels[link]?.ledger.unblockIfLow() == true ? self.retry() : []
    }

    /// Closes a level. Returns its waiters in order, and the items that pass without them. The level's bytes count
    /// until their release.
    mutating func closeLevel(_ node: Node) -> (refused: [Waiter], admitted: [Waiter]) {
        var refused: [Waiter] = []
        self.waiters.removeValue(forKey: node)?.forEach { refused.append($0.waiter) }
        self.levels[node]?.isClosed = true
        self.waitingLinks.removeAll { $0 == node }
        // A level may have waited for room for the removed waiters.
        self.forEachLevel(from: node) { _ = $0.ledger.unblockIfLow() }
        self.removeIfDone(node)
        if !refused.isEmpty { self.share?.withdraw() }
        return (refused, self.retry())
    }

    func ledger(_ node: Node) -> ByteLedger? {
        self.levels[node]?.ledger
    }

    /// Returns whether items may still be admitted or wait at a link.
    func isOpen(_ node: Node) -> Bool {
        self.levels[node]?.isClosed == false
    }

    func hasWaiters(_ node: Node) -> Bool {
        !self.waitingLinks.isEmpty && self.waiters[node] != nil
    }

    /// Admits bytes of a link on every level. If a level refuses the bytes, no level admits them, and the gate marks
    /// the refusing level if it is above its low mark.
    ///
    /// At or below the low mark the level stays unmarked, because no event would end the block. A waiter marks the
    /// level itself.
    ///
    /// - Parameters:
    ///   - isWaiting: Whether the item waits at once after a refusal.
    ///   - mayWait: Whether the caller waits for room after a refusal.
    mutating func admit(
        _ bytes: Int,
        at link: Node,
        as part: MessagePart = .whole,
        isWaiting: Bool = false,
        mayWait: Bool = false
    ) -> Admission {
        guard self.isOpen(link) else { return .closed }
        // A later item waits for the same cause as the first waiter.
        if !part.follows, self.hasWaiters(link), let first = self.first(at: link) { return .full(first.level) }
        guard self.isNext(part, at: link) else { return .full(.stream) }
        let refusing = self.pass(bytes, at: link, as: part, isWaiting: isWaiting, mayWait: mayWait || isWaiting)
        return refusing.map { .full($0) } ?? .admitted
    }

    /// Returns the size of a link's first waiter, and the level that refuses it.
    func first(at link: Node) -> (bytes: Int, level: SendRefusal.Level)? {
        guard let first = self.waiters[link]?.first?.waiter else { return nil }
        if !self.isNext(first.part, at: link) { return (first.bytes, .stream) }
        let refusing = self.refusing(first.bytes, at: link, mayWait: true)
        return (first.bytes, refusing.map { self.level(of: $0, from: link) } ?? (self.counts(link) ? .budget : .link))
    }

    /// Returns whether the bytes of a link count in a budget.
    private func counts(_ link: Node) -> Bool { self.share != nil && self.levels[link]?.isPrepaid == false }

    private mutating func releaseShare(_ bytes: Int, of link: Node) {
        if self.counts(link) { self.share?.release(bytes) }
    }

    private func level(of node: Node, from link: Node) -> SendRefusal.Level {
        if node == link { return .link }
        return self.levels[link]?.parent == node ? .session : .connection
    }

    /// Returns the ledger of a level, as seen from a link.
    func ledger(_ level: SendRefusal.Level, from link: Node) -> (node: Node, ledger: ByteLedger)? {
        var node = link
        let steps = level == .link || level == .stream ? 0 : level == .session ? 1 : 2
        for _ in 0..<steps {
            guard let parent = self.levels[node]?.parent else { break }
            node = parent
        }
        return self.levels[node].map { (node, $0.ledger) }
    }

    func isLevel(_ node: Node, above link: Node) -> Bool {
        var next: Node? = link
        while let current = next {
            if current == node { return true }
            next = self.levels[current]?.parent
        }
        return false
    }

    private func isNext(_ part: MessagePart, at link: Node) -> Bool {
        part.follows || self.levels[link]?.message == 0
    }

    /// Ends a message in parts. Returns the items that pass now.
    mutating func endMessage(_ number: UInt32, at link: Node) -> [Waiter] {
        if self.levels[link]?.message == number { self.levels[link]?.message = 0 }
        return self.retry()
    }

    mutating func wait(_ waiter: Waiter, id: UInt64, bytes: Int, at link: Node, as part: MessagePart = .whole) {
        if !self.hasWaiters(link) {
            self.waitingLinks.append(link)
            if let refusing = self.refusing(bytes, at: link, mayWait: true) {
                self.levels[refusing]?.ledger.refuse(bytes, mayWait: refusing == link, isWaiting: true)
            }
        }
        let waiting = Waiting(bytes: bytes, part: part, waiter: waiter)
        if part.follows {
            self.waiters[link, default: WaitList()].prepend(id, waiting)
        } else {
            self.waiters[link, default: WaitList()].append(id, waiting)
        }
    }

    /// Removes a waiter. Returns it, and the items that pass without it.
    mutating func cancel(_ id: UInt64, at link: Node) -> (cancelled: Waiter?, admitted: [Waiter]) {
        let isFirst = self.waiters[link]?.first?.id == id
        guard let cancelled = self.takeWaiter(link, { $0.remove(id) }) else { return (nil, []) }
        if !self.hasWaiters(link) { self.waitingLinks.removeAll { $0 == link } }
        // A level may have waited for room for the removed waiter.
        self.forEachLevel(from: link) { _ = $0.ledger.unblockIfLow() }
        // The connection waits in the budget only for the first waiter of a link. The removal of another waiter must
        // not lose this place.
        if isFirst { self.share?.withdraw() }
        return (cancelled, self.retry())
    }

    /// Returns the bytes that must be released for a link's first waiter, independent of the marks; `nil` without a
    /// waiter that may pass.
    func shortage(at link: Node) -> Int? {
        // Behind an incomplete message in parts no room helps, and its parts cannot be dropped.
        guard let first = self.waiters[link]?.first?.waiter, !first.part.follows, self.isNext(first.part, at: link)
        else {
            return nil
        }
        var shortage = self.counts(link) ? self.share?.shortage(first.bytes) ?? 0 : 0
        var next: Node? = link
        while let current = next, let level = self.levels[current] {
            shortage = max(shortage, level.ledger.shortage(first.bytes))
            next = level.parent
        }
        return shortage
    }

    /// Removes bytes, and admits the link's first waiter in their place. Returns the waiter if there was room, and
    /// other items that pass.
    mutating func replace(_ bytes: Int, at link: Node) -> (replaced: Waiter?, admitted: [Waiter]) {
        var isUnblocked = false
        self.releaseShare(bytes, of: link)
        self.forEachLevel(from: link) { if $0.ledger.remove(bytes) { isUnblocked = true } }
        guard let (id, first) = self.waiters[link]?.first, self.shortage(at: link) == 0,
            !self.counts(link) || self.share?.exchange(bytes, for: first.bytes) == true
        else {
            self.removeIfDone(link)
            return (nil, isUnblocked ? self.retry() : [])
        }
        self.forEachLevel(from: link) { $0.ledger.add(first.bytes) }
        self.note(first.part, at: link)
        let (replaced, admitted) = self.cancel(id, at: link)
        return (replaced, admitted)
    }

    /// Removes the first waiter of a link.
    mutating func cancelFirst(at link: Node) -> (cancelled: Waiter?, admitted: [Waiter]) {
        guard let first = self.waiters[link]?.first else { return (nil, []) }
        return self.cancel(first.id, at: link)
    }

    private mutating func takeWaiter(
        _ link: Node,
        _ take: (inout WaitList<UInt64, Waiting>) -> Waiting?
    ) -> Waiter? {
        guard let index = self.waiters.index(forKey: link) else { return nil }
        let taken = take(&self.waiters.values[index])
        if self.waiters.values[index].isEmpty { self.waiters.remove(at: index) }
        return taken?.waiter
    }

    /// Removes bytes from a link and its parents. Returns the items that pass now, in order.
    mutating func release(_ bytes: Int, at link: Node) -> [Waiter] {
        guard self.levels.contains(link) else { return [] }
        var isUnblocked = false
        self.releaseShare(bytes, of: link)
        self.forEachLevel(from: link) { if $0.ledger.remove(bytes) { isUnblocked = true } }
        self.removeIfDone(link)
        return isUnblocked ? self.retry() : []
    }

    private mutating func forEachLevel(from node: Node, _ body: (inout Level) -> Void) {
        var next: Node? = node
        while let current = next {
            next = self.levels.update(current) { $0.apply(body) } ?? nil
        }
    }

    private mutating func removeIfDone(_ node: Node) {
        var next: Node? = node
        while let current = next, let level = self.levels[current] {
            next = level.parent
            guard level.isClosed, level.ledger.used == 0 else { continue }
            self.levels.remove(current)
            if level.isTuned { self.tuners[current] = nil }
        }
    }

    /// Returns the first level from the link to the root that does not admit the bytes.
    private func refusing(_ bytes: Int, at link: Node, mayWait: Bool) -> Node? {
        guard let level = self.levels[link], level.ledger.admits(bytes, mayWait: mayWait) else { return link }
        var next = level.parent
        while let current = next {
            guard let level = self.levels[current], level.ledger.admits(bytes) else { return current }
            next = level.parent
        }
        return nil
    }

    /// Counts bytes on every level, or on no level. Returns the level that refused them; `nil` if all levels admitted
    /// them.
    private mutating func pass(
        _ bytes: Int,
        at link: Node,
        as part: MessagePart,
        isWaiting: Bool = false,
        mayWait: Bool = false
    ) -> SendRefusal.Level? {
        if let refusing = self.refusing(bytes, at: link, mayWait: mayWait) {
            self.levels[refusing]?.ledger.refuse(bytes, mayWait: mayWait && refusing == link, isWaiting: isWaiting)
            return self.level(of: refusing, from: link)
        }
        if self.counts(link), self.share?.tryReserve(bytes, isWaiting: isWaiting) == false { return .budget }
        self.forEachLevel(from: link) { $0.ledger.add(bytes) }
        if !self.tuners.isEmpty { self.tuners[link]?.admit(bytes) }
        self.note(part, at: link)
        return nil
    }

    /// Records the start or the end of a message in parts.
    private mutating func note(_ part: MessagePart, at link: Node) {
        switch part {
        case .whole, .middle: break
        case .first(let number): self.levels[link]?.message = number
        case .last: self.levels[link]?.message = 0
        }
    }

    /// Tries the waiters in turn. Returns the items that pass.
    mutating func retry() -> [Waiter] {
        guard !self.waitingLinks.isEmpty else { return [] }
        var admitted: [Waiter] = []
        var served: [Node] = []
        var refused: [Node] = []
        for link in self.waitingLinks {
            let before = admitted.count
            while let head = self.waiters[link]?.first?.waiter, self.isNext(head.part, at: link),
                self.pass(head.bytes, at: link, as: head.part, isWaiting: true, mayWait: true) == nil
            {
                _ = self.takeWaiter(link) { $0.popFirst() }
                admitted.append(head.waiter)
            }
            guard self.hasWaiters(link) else { continue }
            if admitted.count > before { served.append(link) } else { refused.append(link) }
        }
        // A link without success is the first of the next attempt.
        self.waitingLinks = Deque(refused + served)
        return admitted
    }
}
