internal import Synchronization

/// What the tasks see of a link. The loop writes it.
final class LinkStatus: Sendable {
    /// What the peer answered to the attach.
    struct Attachment: Sendable {
        var source: AMQPSource
        var target: AMQPTarget
        var properties: AMQPMap
        var capabilities: LinkCapabilities
        var maxMessageSize: UInt64
        var senderSettleMode: AMQPSenderSettleMode
        var receiverSettleMode: AMQPReceiverSettleMode
    }

    /// How a link ended without an error.
    enum End: Sendable {
        /// One side closed or detached the link.
        case link(by: AMQPError.Origin, AMQPError.Ending)
        /// The session or the connection ended in order, and the link with it.
        case withAll(AMQPError)
    }

    let name: String
    let key: LinkKey
    /// What the link leaves unfinished when it is closed.
    let report = CloseReport()
    let attachment = Reply<Attachment>()
    /// The link is of no more use; a failure when an error ended it.
    let ended = Reply<End>()
    /// Both sides have detached, or what the link was on is gone.
    let detached = Reply<Void>()
    let credit = Atomic<Int>(0)
    /// On a receiver: the bytes that wait of messages that are handed over while they arrive.
    let streamedBytes = Atomic<Int>(0)
    /// The most that waited while there were such bytes, with the messages that wait to be taken.
    let bufferedBytesPeak = Atomic<Int>(0)
    /// What the peer's last flow said of the messages that it has; -1 for nothing.
    let available = Atomic<Int>(-1)
    /// The link-credit in the peer's last flow.
    let granted = Atomic<UInt32>(0)
    /// The properties in the peer's last flow.
    let flowProperties = Mutex<AMQPMap>([:])
    /// On a receiver: what has come is more than there is room for.
    let isHeldBack = Atomic<Bool>(false)
    /// On a receiver: the application has paused it.
    let isPaused = Atomic<Bool>(false)
    /// On a sender: what its bytes wait for.
    let cause = Atomic<LaneCause>(.socket)
    /// On a sender: what was dropped for lack of room.
    let droppedMessages = Atomic(0)
    let droppedBytes = Atomic(0)
    /// The figures of the link when it ended.
    let lastSnapshot = Mutex<AMQPLinkSnapshot?>(nil)
    /// On a sender: the messages that the peer takes in all, those that have begun included.
    let deliveryLimit = ObservedValue()

    init(name: String, key: LinkKey) {
        self.name = name
        self.key = key
    }

    /// Counts the bytes of streamed messages that wait, beside those of the messages that wait to be taken. Called on the loop.
    func countStreamed(_ bytes: Int, beside waiting: Int) {
        self.streamedBytes.store(bytes, ordering: .relaxed)
        let all = bytes + waiting
        if all > self.bufferedBytesPeak.load(ordering: .relaxed) {
            self.bufferedBytesPeak.store(all, ordering: .relaxed)
        }
    }

    /// Why the link is of no more use; `nil` while it is.
    var endError: AMQPError? {
        switch self.ended.answer {
        case nil: nil
        case .failure(let error): error
        case .success(let end): self.closedError(end)
        }
    }

    func closedError(_ end: End) -> AMQPError {
        switch end {
        case .withAll(let cause): return cause
        case .link(let origin, let ending):
            let side = origin == .peer ? "the peer" : "this side"
            let act = ending == .detached ? "detached" : ending == .refused ? "refused" : "closed"
            let text = "\(side) \(act) the link \(self.name)"
            return AMQPError(scope: .link, condition: .closed, detail: text, origin: origin, ending: ending)
        }
    }
}
