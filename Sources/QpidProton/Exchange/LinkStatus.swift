// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The state of a link for tasks. The loop writes it.
final class LinkStatus: Sendable {
    /// The peer's answer to the attach.
    struct Attachment: Sendable {
        var source: AMQPSource
        var target: AMQPTarget
        var properties: AMQPMap
        var capabilities: LinkCapabilities
        var maxMessageSize: UInt64
        var senderSettleMode: AMQPSenderSettleMode
        var receiverSettleMode: AMQPReceiverSettleMode
    }

    /// The end of a link without an error.
    enum End: Sendable {
        /// One side closed or detached the link.
        case link(by: AMQPError.Origin, AMQPError.Ending)
        /// The session or the connection ended without an error, and the link with it.
        case withAll(AMQPError)
    }

    let name: String
    let key: LinkKey
    /// The unfinished work of a closed link.
    let report = CloseReport()
    let attachment = Reply<Attachment>()
    /// The end of the link; a failure if an error ended it.
    let ended = Reply<End>()
    /// The answer to waiting closes, once both sides have detached, or the session or connection has ended.
    let detached = Reply<Void>()
    let credit = Atomic<Int>(0)
    /// On a receiver: the waiting bytes of streamed messages.
    let streamedBytes = Atomic<Int>(0)
    /// The largest number of waiting bytes with streamed messages, including waiting messages.
    let bufferedBytesPeak = Atomic<Int>(0)
    /// The number of available messages in the peer's last flow; -1 if absent.
    let available = Atomic<Int>(-1)
    /// The link-credit in the peer's last flow.
    let granted = Atomic<UInt32>(0)
    /// The properties in the peer's last flow.
    let flowProperties = Mutex<AMQPMap>([:])
    /// On a receiver: whether more bytes have arrived than there is room for.
    let isHeldBack = Atomic<Bool>(false)
    /// On a receiver: whether the application has paused the receiver.
    let isPaused = Atomic<Bool>(false)
    /// On a sender: the cause for which its bytes wait.
    let cause = Atomic<LaneCause>(.socket)
    /// On a sender: the number of messages dropped for lack of room.
    let droppedMessages = Atomic(0)
    let droppedBytes = Atomic(0)
    /// The last figures of an ended link.
    let lastSnapshot = Mutex<AMQPLinkSnapshot?>(nil)
    /// On a sender: the total number of messages that the peer's credit allows, including started messages.
    let deliveryLimit = ObservedValue()

    init(name: String, key: LinkKey) {
        self.name = name
        self.key = key
    }

    /// Counts the waiting bytes of streamed messages in addition to waiting messages. Called on the loop.
    func countStreamed(_ bytes: Int, beside waiting: Int) {
        self.streamedBytes.store(bytes, ordering: .relaxed)
        let all = bytes + waiting
        if all > self.bufferedBytesPeak.load(ordering: .relaxed) {
            self.bufferedBytesPeak.store(all, ordering: .relaxed)
        }
    }

    /// The error that ended the link; `nil` while it is open.
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
