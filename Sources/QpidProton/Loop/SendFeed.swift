/// The sending half of a connection: hands slices of messages to Proton, and asks senders whether they have finished.
///
/// It is used on the event loop alone.
final class SendFeed {
    /// The bytes that are handed to Proton before it writes.
    static let batch = 32_768
    /// The most bytes of a slice that is alone.
    private static let largestSlice = 65_536
    /// The bytes up to which a message is not cut, however little is left of a turn: a second frame would cost more.
    private static let uncut = 1_024
    /// The bytes that a chosen tag, marked with a format, may add to a transfer frame.
    private static let tagRoom = 24

    typealias Lane = SendQueue<SenderEndpoint>.Lane

    // Changed in short steps that call nothing which comes back.
    @exclusivity(unchecked) var queue: SendQueue<SenderEndpoint>
    /// Senders that are closed as soon as they have nothing left to do.
    @exclusivity(unchecked) private(set) var flushing: [SenderEndpoint] = []
    /// Senders of which a message was given up that Proton has not been told to abort.
    @exclusivity(unchecked) private var aborting: [SenderEndpoint] = []
    /// Lanes that got messages in this turn.
    @exclusivity(unchecked) private var filledLanes: [Lane] = []
    /// About how many bytes of a message fit into one frame of the peer.
    @exclusivity(unchecked) private(set) var payload = 448
    /// A tag or a format was chosen for a message of this connection.
    private var hasChosen = false

    init(lowShare: Double) { self.queue = SendQueue(lowShare: lowShare) }

    // MARK: The size of frames

    /// The peer has announced its largest frame.
    func setFrameSize(_ size: UInt32) {
        let overhead = 64 + (self.hasChosen ? Self.tagRoom : 0)
        self.payload = max(256, Int(min(size, 1 << 24)) - overhead)
    }

    /// Long tags leave less room in each frame: what is counted as a transfer must be one at least.
    func makeRoomForTags() {
        guard !self.hasChosen else { return }
        self.hasChosen = true
        self.payload = max(256, self.payload - Self.tagRoom)
    }

    // MARK: Lanes

    /// Lets a lane move that got messages, and notes what keeps it where it cannot.
    @inline(__always)
    func filled(_ lane: Lane) {
        self.queue.makeReadyIfMovable(lane)
        // What can leave now is not blocked: whether it has left is looked at behind the turn.
        if lane.canMove { self.filledLanes.append(lane) } else { lane.link.noteCause() }
        // Credit that the peer wants back is used first.
        if lane.link.isDraining { lane.link.flowed() }
    }

    /// Notes what blocks the lanes that have been filled and did not empty since.
    @inline(__always)
    func noteFilled() {
        while let lane = self.filledLanes.popLast() { if !lane.isEmpty { lane.link.noteCause() } }
    }

    /// Hands slices to Proton, of as many bytes as a batch has.
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
                // A large message that is alone leaves in whole frames: half of one uses up as much of the peer's window.
                let room =
                    isAlone && used == 0 && budget == batch ? max(turn, min(payload, Self.largestSlice)) : turn - used
                let limit = min(max(room, Self.uncut), session.sliceLimit(payload: payload))
                guard let slice = lane.next(limit: limit) else { break }
                sender.send(slice, payload: payload)
                // A transfer has a frame around it, which an empty message has too.
                used += slice.range.count + 32
            }
            budget -= used
            self.queue.yield(lane, used: used)
            if lane.isEmpty { sender.answerDrain() }
            sender.noteCause()
        }
    }

    // MARK: Aborts

    /// Whether an abort can leave now.
    var mayAbort: Bool { !self.aborting.isEmpty && self.aborting.contains(where: \.mayAbort) }

    func willAbort(_ sender: SenderEndpoint) { self.aborting.append(sender) }

    func hasAborted(_ sender: SenderEndpoint) { self.aborting.removeAll { $0 === sender } }

    /// Tells Proton of the messages that were given up and of which the peers can be told: before others are handed over,
    /// which would be taken for more of them.
    @inline(__always)
    func abortGivenUp() {
        if !self.aborting.isEmpty { self.askAborting() }
    }

    private func askAborting() {
        // Taken out while they are asked, which may bring others.
        let senders = self.aborting
        self.aborting = []
        self.aborting.insert(contentsOf: senders.filter { !$0.abortIfPossible() }, at: 0)
    }

    // MARK: Flushes

    /// Closes a sender when it has nothing left to do.
    func closeWhenFlushed(_ sender: SenderEndpoint) { self.flushing.append(sender) }

    /// Closes the links that have nothing left to do.
    @inline(__always)
    func closeFlushed() {
        if !self.flushing.isEmpty { self.askFlushing() }
    }

    private func askFlushing() {
        // Taken out while they are asked, which may bring others.
        let senders = self.flushing
        self.flushing = []
        self.flushing.insert(contentsOf: senders.filter { !$0.closeIfFlushed() }, at: 0)
    }

    /// The connection is gone.
    func close() { self.flushing = [] }
}
