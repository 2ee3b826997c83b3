// SPDX-License-Identifier: Apache-2.0

/// The sending half of a connection. It hands slices of messages to Proton, and checks whether closing senders have
/// finished.
///
/// Used on the event loop only.
final class SendFeed {
    /// The bytes that the feed hands to Proton before Proton writes.
    static let batch = 32_768
    /// The most bytes of a single slice.
    private static let largestSlice = 65_536
    /// The size in bytes up to which a message is not cut, even at the end of a turn. A second frame would cost more.
    private static let uncut = 1_024
    /// The bytes that a chosen, marked tag may add to a transfer frame.
    private static let tagRoom = 24

    typealias Lane = SendQueue<SenderEndpoint>.Lane

    // Exclusivity checks are off: changes are short steps that are never re-entered.
    @exclusivity(unchecked) var queue: SendQueue<SenderEndpoint>
    /// Senders that close as soon as their work is done.
    @exclusivity(unchecked) private(set) var flushing: [SenderEndpoint] = []
    /// Senders with an abandoned message whose abort Proton does not have yet.
    @exclusivity(unchecked) private var aborting: [SenderEndpoint] = []
    /// Lanes with new messages in this turn.
    @exclusivity(unchecked) private var filledLanes: [Lane] = []
    /// The approximate bytes of a message in one frame of the peer.
    @exclusivity(unchecked) private(set) var payload = 448
    /// Whether a message of this connection has a tag or a format of its own.
    private var hasChosen = false

    init(lowShare: Double) { self.queue = SendQueue(lowShare: lowShare) }

    // MARK: The size of frames

    /// Applies the largest frame that the peer has announced, in bytes.
    func setFrameSize(_ size: UInt32) {
        let overhead = 64 + (self.hasChosen ? Self.tagRoom : 0)
        self.payload = max(256, Int(min(size, 1 << 24)) - overhead)
    }

    /// Reduces the payload, because long tags leave less room in each frame. The counted transfers must never be fewer
    /// than the frames.
    func makeRoomForTags() {
        guard !self.hasChosen else { return }
        self.hasChosen = true
        self.payload = max(256, self.payload - Self.tagRoom)
    }

    // MARK: Lanes

    /// Resumes a lane with new messages, and records the cause if it is blocked.
    @inline(__always)
    func filled(_ lane: Lane) {
        self.queue.makeReadyIfMovable(lane)
        // Bytes that can be sent now are not blocked. The end of the turn checks whether they were sent.
        if lane.canMove { self.filledLanes.append(lane) } else { lane.link.noteCause() }
        // New messages use the credit that the peer reclaims before it is returned.
        if lane.link.isDraining { lane.link.flowed() }
    }

    /// Records the causes of lanes that have received messages and are still not empty.
    @inline(__always)
    func noteFilled() {
        while let lane = self.filledLanes.popLast() { if !lane.isEmpty { lane.link.noteCause() } }
    }

    /// Hands slices to Proton, up to the bytes of a batch.
    ///
    /// - Parameters:
    ///   - batch: The bytes for which the socket has room.
    ///   - now: The time of the loop's clock, in nanoseconds.
    @inline(__always)
    func handOver(_ batch: Int, at now: Int64) {
        var budget = batch
        let payload = self.payload
        while budget > 0, let lane = self.queue.nextLane() {
            let sender = lane.link
            let session = sender.session
            let isAlone = !self.queue.hasReadyLane
            let turn = isAlone ? budget : min(lane.allowance, budget)
            let isLimited = sender.pacer != nil
            var used = sender.pacer?.send(lane, turn: turn, payload: payload, at: now) ?? 0
            while !isLimited, used < turn {
                // A single large message is sent in whole frames, because half a frame uses as much of the peer's
                // window.
                let room =
                    isAlone && used == 0 && budget == batch ? max(turn, min(payload, Self.largestSlice)) : turn - used
                let limit = min(max(room, Self.uncut), session.sliceLimit(payload: payload))
                guard let slice = lane.next(limit: limit) else { break }
                sender.send(slice, payload: payload)
                // Each transfer has a frame around it, even for an empty message.
                used += slice.range.count + 32
            }
            budget -= used
            self.queue.yield(lane, used: used)
            if lane.isEmpty { sender.answerDrain() }
            sender.noteCause()
        }
    }

    // MARK: Aborts

    /// Whether Proton can send an abort now.
    var mayAbort: Bool { !self.aborting.isEmpty && self.aborting.contains(where: \.mayAbort) }

    func willAbort(_ sender: SenderEndpoint) { self.aborting.append(sender) }

    func hasAborted(_ sender: SenderEndpoint) { self.aborting.removeAll { $0 === sender } }

    /// Hands the possible aborts of abandoned messages to Proton before other bytes. Proton would send other bytes as
    /// the rest of these messages.
    @inline(__always)
    func abortGivenUp() {
        if !self.aborting.isEmpty { self.askAborting() }
    }

    private func askAborting() {
        // Move the list out during the calls, which may add other senders.
        let senders = self.aborting
        self.aborting = []
        self.aborting.insert(contentsOf: senders.filter { !$0.abortIfPossible() }, at: 0)
    }

    // MARK: Flushes

    /// Closes a sender when its work is done.
    func closeWhenFlushed(_ sender: SenderEndpoint) { self.flushing.append(sender) }

    /// Closes the links whose work is done.
    @inline(__always)
    func closeFlushed() {
        if !self.flushing.isEmpty { self.askFlushing() }
    }

    private func askFlushing() {
        // Move the list out during the calls, which may add other senders.
        let senders = self.flushing
        self.flushing = []
        self.flushing.insert(contentsOf: senders.filter { !$0.closeIfFlushed() }, at: 0)
    }

    /// Drops the closing senders of an ended connection.
    func close() { self.flushing = [] }
}
