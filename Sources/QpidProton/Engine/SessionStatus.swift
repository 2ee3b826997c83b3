internal import Synchronization

/// What the tasks see of the ids and windows of a session. The loop writes it, once after each read and each write.
final class SessionStatus: Sendable {
    let remoteIncomingWindow = Atomic<Int>(0)
    /// `.min` while the peer has told none.
    let remoteOutgoingWindow = Atomic<Int>(.min)
    let nextOutgoingID = Atomic<UInt32>(0)
    let nextIncomingID = Atomic<UInt32>(0)
    let echoesSeen = Atomic<Int>(0)
}
