// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore

/// A receiver's rate limit, and its held and expected bytes in the connection's memory.
struct ReceiverAccount {
    /// The receiver's bytes in memory; `nil` if the memory of the connection is not limited.
    private(set) var share: ReceiveShare?
    /// The pace of the credit; `nil` without a rate limit.
    private var pace: CreditPace?
    /// The timer that renews the credit when the rate limit allows more.
    private var timer: LoopTimer?
    /// The weights of messages in the window that no task has received, in order.
    private var untaken: Deque<Int> = []

    var hasRateLimit: Bool { self.pace != nil }
    /// Whether the rate limit withholds credit.
    var isPaced: Bool { self.timer != nil }

    init(isBudgeted: Bool = false) {
        if isBudgeted { self.share = ReceiveShare() }
    }

    // MARK: Memory

    /// Adds to the held bytes of the link.
    @inline(__always)
    mutating func add(_ bytes: Int, of link: LinkEndpoint) {
        if self.share != nil { self.share?.add(bytes, to: &link.handler.receiving.budget) }
    }

    /// Counts a collected message that is complete. Returns its weight in the window, in bytes.
    @inline(__always)
    mutating func complete(_ count: Int, _ state: inout ReceiverState, of link: LinkEndpoint) -> Int {
        var weight = state.complete(count)
        if self.share != nil {
            weight = max(weight, count)
            self.add(weight - count, of: link)
            self.share?.complete(count)
        }
        self.pace?.complete(count)
        return weight
    }

    /// Records a message whose place in the window is free once a task receives it.
    ///
    /// - Parameter isCounted: Whether the window counts bytes.
    @inline(__always)
    mutating func keep(_ weight: Int, isCounted: Bool) {
        if self.share != nil || isCounted { self.untaken.append(weight) }
    }

    /// Removes messages that a task has received. Returns the sum of their weights.
    mutating func take(_ count: Int) -> Int {
        var bytes = 0
        for _ in 0..<count { bytes += self.untaken.popFirst() ?? 0 }
        return bytes
    }

    /// Reports the bytes expected for outstanding credit to the connection.
    mutating func promise(_ credit: Int, of link: LinkEndpoint) {
        self.share?.promise(credit, to: &link.handler.receiving.budget)
    }

    // MARK: Credit

    /// Renews the credit of an automatic window, within the memory and the rate limit. Returns the credit to advertise.
    ///
    /// - Parameter unsettled: The number of deliveries that are not settled by both sides.
    mutating func renew(_ state: inout ReceiverState, unsettled: Int, of receiver: ReceiverEndpoint) -> Int {
        let room = self.share?.credit(isIdle: state.isIdle, of: &receiver.handler.receiving.budget) ?? .max
        let limit = min(room, state.unsettledCredit(unsettled))
        return self.pace == nil ? state.topUp(limit: limit) : self.renewPaced(&state, limit: limit, receiver)
    }

    /// Renews the credit within the rate limit. A timer grants the credit that the limit withholds.
    private mutating func renewPaced(_ state: inout ReceiverState, limit: Int, _ receiver: ReceiverEndpoint) -> Int {
        guard state.window.wantsCredit else { return 0 }
        let now = receiver.handler.nanoseconds
        let credit = state.topUp(limit: min(limit, self.pace?.allowance(now) ?? .max))
        self.pace?.grant(credit)
        guard state.window.wantsCredit, self.timer == nil, let next = self.pace?.limiter.nextTime(now: now) else {
            return credit
        }
        // A limit may be so low that its time cannot be computed, so the timer checks again within an hour.
        let time = min(max(next, now + 1_000_000), now + 3_600_000_000_000)
        self.timer = LoopTimer(of: receiver.handler, at: .uptimeNanoseconds(UInt64(clamping: time))) {
            [unowned receiver] in
            receiver.account.timer = nil
            receiver.topUp()
        }
        return credit
    }

    /// Sets or removes the rate limit from now on.
    mutating func setRate(_ limit: AMQPRateLimit?, at now: Int64) {
        self.cancelTimer()
        if let limit, self.pace != nil {
            self.pace?.limiter.change(to: limit, now: now)
        } else {
            self.pace = limit.map { CreditPace($0, now: now) }
        }
    }

    /// Counts a streamed or aborted message.
    @inline(__always)
    mutating func count(_ bytes: Int) { self.pace?.complete(bytes) }

    /// Counts returned credit.
    mutating func refund(_ credit: Int) { self.pace?.refund(credit) }

    mutating func cancelTimer() {
        self.timer?.cancel()
        self.timer = nil
    }
}
