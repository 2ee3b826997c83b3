// SPDX-License-Identifier: Apache-2.0

/// The state of a receiver: the arriving message, its credit, its drain and its purpose.
///
/// The loop reports events and acts on the results. A result for a message is a number, a Boolean or an enum without
/// payload.
struct ReceiverState {
    /// The window, which is paused if and only if a drain is not over or the purpose is not to receive.
    private(set) var window: CreditWindow
    private(set) var message = ArrivingMessage.none
    private(set) var drain = DrainPhase.none
    private(set) var purpose = ReceivePurpose.receiving
    /// Credit from the application that the receiver has not granted yet.
    private(set) var withheldCredit = 0
    private let unsettledLimit: UnsettledLimit

    init(_ window: CreditWindow = CreditWindow(.manual), unsettledLimit: UnsettledLimit = .none) {
        self.window = window
        self.unsettledLimit = unsettledLimit
    }

    /// Whether no credit is outstanding and no message is arriving.
    var isIdle: Bool { self.window.outstanding == 0 && !self.message.hasBegun }

    /// Whether the peer has no credit although a task may wait for a message.
    var isBlocked: Bool {
        self.window.outstanding == 0 && !self.window.isPaused
            && !(self.window.policy == .onDemand && self.window.held == 0)
    }

    // MARK: The arriving message

    /// Handles the first byte of a message. Returns false for a message without credit.
    @inline(__always)
    mutating func arrive() -> Bool {
        if self.message.hasBegun { return true }
        guard self.window.arrive() else { return false }
        self.message = .gathering(.upToDate)
        return true
    }

    /// Updates the reading state of the message. Returns whether it has changed.
    @inline(__always)
    mutating func read(_ reading: ArrivingMessage.Reading) -> Bool {
        guard self.message.hasBegun, self.message.isHeldBack != (reading == .heldBack) else { return false }
        self.message = self.message.read(reading)
        return true
    }

    /// Ends the collected message, which is complete. Returns its bytes in the window, which stay until their release.
    @inline(__always)
    mutating func complete(_ size: Int) -> Int {
        self.message = .none
        return self.window.complete(size)
    }

    /// Streams the collected message from now on.
    ///
    /// - Parameters:
    ///   - sequence: The sequence of the message's delivery.
    ///   - bytes: The weight of the sections before the body.
    mutating func stream(_ sequence: UInt64, bytes: Int) {
        self.message = .streaming(sequence, self.message.isHeldBack ? .heldBack : .upToDate)
        self.window.hold(bytes)
    }

    /// Ends the streamed message, which is complete.
    mutating func completeStream(_ size: Int) {
        self.message = .none
        self.window.completeStreamed(size)
    }

    /// Ends a message that the sender has aborted. The place of a streamed message becomes free when the application
    /// has settled it.
    mutating func abort() {
        if case .streaming = self.message { self.window.completeStreamed(0) } else { self.window.abort() }
        self.message = .none
    }

    /// Drops the received part of the message, because the link has ended.
    mutating func drop() { self.message = .none }

    /// Ends the streaming of a message, because the link has ended and no task reads it any more.
    mutating func endStream() {
        guard case .streaming(_, let reading) = self.message else { return }
        self.message = .gathering(reading)
    }

    // MARK: Draining

    /// Starts a drain for the application or the receiver itself.
    mutating func requestDrain() -> DrainStep {
        guard !self.drain.isUnderWay else { return .none }
        self.drain = .requested
        self.window.pause()
        return self.window.outstanding > 0 ? .request : self.returned(0)
    }

    /// Handles credit that the peer has returned.
    mutating func returned(_ credit: Int) -> DrainStep {
        switch self.drain {
        case .none, .ending:
            guard credit > 0 else { return .none }
            self.window.returned(credit)
            return .late(credit)
        case .requested:
            // A started message precedes the answer.
            guard !self.message.hasBegun else {
                self.drain = .answered(credit)
                return .none
            }
            return self.end(credit)
        case .answered(let earlier):
            guard !self.message.hasBegun else {
                self.drain = .answered(earlier + credit)
                return .none
            }
            return self.end(earlier + credit)
        }
    }

    /// Handles the end of the received messages in Proton. A drain ends after the last message, or with the last
    /// credit, because a peer without credit need not answer.
    @inline(__always)
    mutating func caughtUp() -> DrainStep {
        guard self.drain.isUnderWay, !self.message.hasBegun else { return .none }
        if case .answered(let credit) = self.drain { return self.end(credit) }
        return self.window.outstanding == 0 ? self.end(0) : .none
    }

    private mutating func end(_ credit: Int) -> DrainStep {
        self.drain = .ending
        return .end(credit)
    }

    /// Ends a drain that the peer did not answer in time. Returns the credit that the peer returned while a message was
    /// arriving; `nil` without a drain.
    mutating func giveUpDrain() -> Int? {
        switch self.drain {
        case .none, .ending: return nil
        case .requested:
            self.drain = .ending
            return 0
        case .answered(let credit):
            self.drain = .ending
            self.window.returned(credit)
            return credit
        }
    }

    /// Removes all unused credit, which the peer's answer has returned. Returns that credit.
    mutating func takeCredit() -> Int {
        let credit = self.window.outstanding
        self.window.drained()
        return credit
    }

    /// Ends a drain whose answer the task has. Returns whether credit may be granted again.
    mutating func endDrain() -> Bool {
        if self.drain == .ending { self.drain = .none }
        return self.reopen()
    }

    /// Allows grants again, unless a drain is in progress, or the receiver is paused or stops.
    private mutating func reopen() -> Bool {
        guard self.drain == .none, self.purpose == .receiving else { return false }
        self.window.resume()
        return true
    }

    // MARK: Pausing and stopping

    /// Withholds all credit until ``resume()``.
    mutating func pause() {
        if self.purpose == .receiving { self.purpose = .paused }
        self.window.pause()
    }

    /// Ends a pause; a receiver that stops stays paused. Returns whether credit may be granted again.
    mutating func resume() -> Bool {
        if self.purpose == .paused { self.purpose = .receiving }
        return self.reopen()
    }

    /// Withholds all credit until the end of the link. Returns false if the receiver was stopping already.
    mutating func stop() -> Bool {
        guard !self.purpose.isStopping else { return false }
        self.purpose = .stopping
        self.window.pause()
        return true
    }

    /// Records that no more messages arrive. Returns whether the receiver is stopping.
    mutating func becomeQuiet() -> Bool {
        guard self.purpose.isStopping else { return false }
        self.purpose = .stopped
        return true
    }

    // MARK: Granting credit. The window counts granted credit at once, so the loop must advertise it.

    /// Grants manual credit, and withholds the part that the pause, the drain or the limit of unsettled messages
    /// forbids.
    ///
    /// - Parameter unsettled: The number of deliveries that are not settled by both sides.
    /// - Returns: The credit to advertise.
    mutating func grant(_ credit: Int, unsettled: Int) -> Int {
        let allowed = self.window.isPaused ? 0 : min(credit, self.unsettledCredit(unsettled))
        self.withheldCredit += credit - allowed
        return self.window.grant(allowed)
    }

    /// Grants withheld credit as far as it is allowed now. Returns the credit to advertise.
    mutating func grantWithheld(unsettled: Int) -> Int {
        let credit = self.withheldCredit
        self.withheldCredit = 0
        return self.grant(credit, unsettled: unsettled)
    }

    /// Renews the credit of an automatic window. Returns the credit to advertise.
    @inline(__always)
    mutating func topUp(limit: Int) -> Int { self.window.topUp(limit: limit) }

    /// Records that the application waits for a message, and that no credit was left.
    @inline(__always)
    mutating func starve() { self.window.starve() }

    /// Counts streamed bytes until a task has read them.
    mutating func hold(_ bytes: Int) { self.window.hold(bytes) }

    /// Frees the places and bytes of messages.
    @inline(__always)
    mutating func free(_ count: Int, bytes: Int) { self.window.free(count, bytes: bytes) }

    /// Records the time until the peer's answer to the attach.
    mutating func attached(after nanoseconds: Int64) { self.window.attached(after: nanoseconds) }

    /// Tunes an automatic window after messages have arrived or returned their places.
    @inline(__always)
    mutating func tune(at now: Int64) { self.window.tune(at: now) }

    // MARK: Unsettled messages

    /// Returns the most credit that the limit of unsettled messages leaves.
    @inline(__always)
    func unsettledCredit(_ unsettled: Int) -> Int {
        guard self.unsettledLimit.most < .max else { return .max }
        return self.unsettledLimit.credit(
            unsettled: self.counted(unsettled),
            outstanding: self.window.outstanding
        )
    }

    /// Returns whether the receiver withholds credit because it waits for the sender to settle.
    ///
    /// - Parameters:
    ///   - unsettled: The number of deliveries that are not settled by both sides.
    ///   - undecided: The number of these deliveries that the application has not settled.
    func waitsForSettling(unsettled: Int, undecided: Int) -> Bool {
        guard self.unsettledLimit.most < .max, self.window.outstanding == 0, !self.window.isPaused,
            unsettled > undecided
        else { return false }
        let isWanted = self.window.policy == .manual ? self.withheldCredit > 0 : self.window.wantsCredit
        return isWanted && self.unsettledLimit.room(unsettled: self.counted(unsettled), outstanding: 0) == 0
    }

    /// Returns the number of unsettled messages. A collected message counts from its first byte, and a streamed message
    /// is a delivery already.
    private func counted(_ unsettled: Int) -> Int {
        if case .gathering = self.message { unsettled + 1 } else { unsettled }
    }
}
