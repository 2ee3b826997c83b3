// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The core of a client's receiver: its current link, and the tasks that have outlived one.
///
/// A task waits at the link itself, without a hop. When the link is lost, its waiting tasks form a line in their order.
/// One task receives messages from the next link for them. When the line is empty, tasks wait at the link again.
final class ClientReceiver: Sendable {
    /// A task in the line.
    struct Waiting: Sendable {
        let ticket: UInt64
        let reply: Reply<AMQPDelivery?>
    }

    struct State: Sendable {
        var link: AMQPReceiver?
        /// A link without credit that no task uses yet, and the connection whose links have no credit.
        var held: AMQPReceiver?
        var heldRate: AMQPRateLimit?
        var holding: Int?
        /// Whether the supervisor has counted a link as attached.
        var isAttached = false
        /// The last attached link, until its remaining messages are counted.
        var last: AMQPReceiver?
        /// The number of lost links.
        var turn = 0
        /// Tasks that wait at the link, and tasks that have not returned from the previous one.
        var direct = 0
        var stragglers = 0
        var line: [Waiting] = []
        var nextTicket: UInt64 = 0
        /// Whether a task receives messages for the line.
        var isPulling = false
        /// Messages that arrived for an empty line, and settled messages of a lost link.
        var spare: Deque<AMQPDelivery> = []
        var isPaused = false
        var rate: AMQPRateLimit?
        /// Credit granted with a manual window and not used yet.
        var granted = 0
        var dropped = 0
        var end: AMQPError?
        var unfinished: AMQPUnfinished
        var knownAddress: String??
        var addressChange: (from: String?, to: String?)?
        var place = StreamPlace()
    }

    /// The place where a task receives its message.
    enum Place: Sendable {
        case taken(AMQPDelivery)
        case link(AMQPReceiver, turn: Int)
        case line(Reply<AMQPDelivery?>)
        case end(AMQPError)
    }

    let settings: AMQPReceiver.Configuration
    let name: String
    let clock: ClientClock
    let first = Reply<Void>()
    let change: (@Sendable (inout AMQPReceiver.Configuration) -> Void)?
    let state: Mutex<State>

    init(
        _ settings: AMQPReceiver.Configuration,
        name: String,
        _ clock: ClientClock,
        reattaching change: (@Sendable (inout AMQPReceiver.Configuration) -> Void)? = nil
    ) {
        self.settings = settings
        self.name = name
        self.clock = clock
        self.change = change
        var state = State(unfinished: AMQPUnfinished(linkName: name, address: settings.source.address))
        state.rate = settings.rateLimit
        state.place.isStream = Self.isStream(settings, isChanged: change != nil)
        self.state = Mutex(state)
    }

    var link: AMQPReceiver? { self.state.withLock { $0.link } }
    var end: AMQPError? { self.state.withLock { $0.end } }
    var unfinished: AMQPUnfinished { self.state.withLock { $0.unfinished } }
    var dropped: Int { self.state.withLock { $0.dropped } }

    // MARK: Receiving messages

    /// Returns up to `count` messages; none at an end without an error.
    ///
    /// - Parameter ticket: The place of a task that has already waited.
    func take(max count: Int, ticket: UInt64? = nil) async throws(AMQPError) -> [AMQPDelivery] {
        if Task.isCancelled { throw .cancelledWait }
        var ticket = ticket
        while true {
            switch self.place(&ticket) {
            case .taken(let delivery): return [delivery]
            case .end(let error): return try self.atEnd(error)
            case .line(let reply):
                do {
                    return try await reply.value().map { [$0] } ?? []
                } catch let error where error.condition == .cancelled {
                    guard let answer = await self.leaveLine(reply) else { throw error }
                    return try answer.get().map { [$0] } ?? []
                }
            case .link(let link, let turn):
                let taken: [AMQPDelivery]
                do {
                    taken = count == 1 ? try await link.next().map { [$0] } ?? [] : try await link.nextBatch(max: count)
                } catch {
                    self.leave(link, turn, hasEnded: error.condition != .cancelled)
                    if error.condition == .cancelled { throw error }
                    continue
                }
                self.leave(link, turn, hasEnded: taken.isEmpty)
                let usable = self.usable(taken, of: link)
                if !usable.isEmpty { return usable }
            }
        }
    }

    /// Returns the next message; `nil` at an end without an error. The common case of ``take(max:)``, without an array.
    func next() async throws(AMQPError) -> AMQPDelivery? {
        guard let (link, turn, ticket) = self.enter() else { return try await self.take(max: 1).first }
        let delivery: AMQPDelivery?
        do {
            delivery = try await link.next()
        } catch {
            self.leave(link, turn, hasEnded: error.condition != .cancelled)
            if error.condition == .cancelled { throw error }
            return try await self.take(max: 1, ticket: ticket).first
        }
        self.leave(link, turn, hasEnded: delivery == nil)
        if let delivery, !self.isStale(delivery, of: link) {
            self.noteTaken(CollectionOfOne(delivery))
            return delivery
        }
        if delivery != nil { self.state.withLock { $0.dropped += 1 } }
        return try await self.take(max: 1, ticket: ticket).first
    }

    /// Returns the next message if one has arrived.
    func poll() -> AMQPDelivery? {
        while true {
            let (taken, link) = self.state.withLock { state -> (AMQPDelivery?, AMQPReceiver?) in
                guard state.line.isEmpty else { return (nil, nil) }
                if let spare = state.spare.popFirst() { return (spare, nil) }
                return (nil, state.link)
            }
            guard let delivery = taken ?? link?.poll() else { return nil }
            guard let link, self.isStale(delivery, of: link) else {
                if taken == nil { self.noteTaken(CollectionOfOne(delivery)) }
                return delivery
            }
            self.state.withLock { $0.dropped += 1 }
        }
    }

    /// Returns the next message, or `nil` if the peer has none. A lost link does not extend the deadline.
    func receive(timeout: Duration, drainingWithin limit: Duration) async throws(AMQPError) -> AMQPDelivery? {
        let deadline = self.clock.now + max(.zero, timeout)
        var ticket: UInt64?
        while true {
            switch self.place(&ticket) {
            case .taken(let delivery): return delivery
            case .end(let error): return try self.atEnd(error).first
            case .line(let reply): return try await self.wait(for: reply, until: deadline, drainingWithin: limit)
            case .link(let link, let turn):
                let delivery: AMQPDelivery?
                do {
                    delivery = try await link.receive(timeout: max(.zero, deadline - self.clock.now))
                } catch {
                    let isLost = link.error != nil
                    self.leave(link, turn, hasEnded: isLost)
                    if !isLost || error.condition == .cancelled { throw error }
                    continue
                }
                self.leave(link, turn, hasEnded: delivery == nil && link.error != nil)
                guard let delivery else {
                    if link.error == nil { return nil }
                    continue
                }
                if let usable = self.usable([delivery], of: link).first { return usable }
            }
        }
    }

    private func wait(
        for reply: Reply<AMQPDelivery?>,
        until deadline: Duration,
        drainingWithin limit: Duration
    ) async throws(AMQPError) -> AMQPDelivery? {
        await reply.wait(until: deadline, self.clock)
        if let answer = reply.answer { return try answer.get() }
        // Earlier tasks have no message either: the peer's messages are in flight, or the peer has none.
        if !Task.isCancelled, let link = self.link {
            _ = try? await link.drain(timeout: limit)
            if let answer = reply.answer { return try answer.get() }
            if let answer = await self.leaveLine(reply) { return try answer.get() }
            if link.error == nil { return nil }
        } else if let answer = await self.leaveLine(reply) {
            return try answer.get()
        }
        if Task.isCancelled { throw .cancelledWait }
        throw .client(.timeout, "the link was lost and is not attached again yet")
    }

    private func atEnd(_ error: AMQPError) throws(AMQPError) -> [AMQPDelivery] {
        if error == .receiverIsClosed || error == .clientClosed { return [] }
        throw error
    }

    // MARK: Places

    /// Enters the link, unless earlier tasks wait.
    private func enter() -> (AMQPReceiver, turn: Int, ticket: UInt64)? {
        if Task.isCancelled { return nil }
        return self.state.withLock { state in
            guard let link = state.link, state.isClear else { return nil }
            defer { state.nextTicket += 1 }
            state.direct += 1
            return (link, state.turn, state.nextTicket)
        }
    }

    private func place(_ ticket: inout UInt64?) -> Place {
        let known = ticket
        let (place, number) = self.state.withLock { state -> (Place, UInt64) in
            let number = known ?? state.nextTicket
            if known == nil { state.nextTicket += 1 }
            if state.line.isEmpty, let spare = state.spare.popFirst() { return (.taken(spare), number) }
            if let end = state.end { return (.end(end), number) }
            if let link = state.link, state.isClear {
                state.direct += 1
                return (.link(link, turn: state.turn), number)
            }
            let reply = Reply<AMQPDelivery?>()
            let index = state.line.firstIndex { $0.ticket > number } ?? state.line.endIndex
            state.line.insert(Waiting(ticket: number, reply: reply), at: index)
            return (.line(reply), number)
        }
        ticket = number
        if case .line = place { self.pullIfNeeded() }
        return place
    }

    /// Records that a task has returned from the link.
    private func leave(_ link: AMQPReceiver, _ turn: Int, hasEnded: Bool) {
        self.state.withLock { state in
            if turn == state.turn { state.direct -= 1 } else { state.stragglers -= 1 }
            if hasEnded, state.link === link { state.letGo() }
        }
        if hasEnded { self.pullIfNeeded() }
    }

    /// Removes a task from the line. Returns the task's result if it arrived first.
    private func leaveLine(_ reply: Reply<AMQPDelivery?>) async -> Result<AMQPDelivery?, AMQPError>? {
        let isOut = self.state.withLock { state in
            guard let index = state.line.firstIndex(where: { $0.reply === reply }) else { return false }
            state.line.remove(at: index)
            return true
        }
        return isOut ? nil : await reply.finalAnswer()
    }

    // MARK: Deliveries

    /// Returns whether no decision about a delivery can reach the sender.
    func isStale(_ delivery: AMQPDelivery, of link: AMQPReceiver) -> Bool {
        !delivery.isSettled && link.error != nil
    }

    private func usable(_ deliveries: [AMQPDelivery], of link: AMQPReceiver) -> [AMQPDelivery] {
        let usable = link.error == nil ? deliveries : deliveries.filter(\.isSettled)
        let dropped = deliveries.count - usable.count
        if dropped > 0 { self.state.withLock { $0.dropped += dropped } }
        self.noteTaken(usable)
        return usable
    }

    private func noteTaken(_ deliveries: some Collection<AMQPDelivery>) {
        if self.isManual { self.state.withLock { $0.granted -= deliveries.count } }
        self.noteOffsets(deliveries)
    }
}

extension ClientReceiver.State {
    /// Whether a task may enter the link: no earlier task waits.
    fileprivate var isClear: Bool { !self.isPulling && self.line.isEmpty && self.stragglers == 0 && self.spare.isEmpty }

    /// Records the end of the link: its waiting tasks return.
    mutating func letGo() {
        self.link = nil
        self.turn += 1
        self.stragglers += self.direct
        self.direct = 0
    }
}

extension AMQPError {
    static let cancelledWait = AMQPError(condition: .cancelled, detail: "the waiting task was cancelled")
}
