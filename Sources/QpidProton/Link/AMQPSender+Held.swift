// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

// Messages that outlive the link. Their holder receives the answers, through their promises.

extension AMQPSender {
    /// Accepts a message if there is room for it now. Otherwise the same as ``trySend(encoded:settled:options:)``.
    ///
    /// - Parameter mayWait: Whether the caller waits for room after a refusal.
    func trySend(
        encoded: ByteBuffer,
        settled: Bool,
        options: AMQPSendOptions,
        as promise: TrackerPromise,
        mayWait: Bool
    ) throws(AMQPError) {
        let admission = try self.admit(encoded, settled, self.choice(options), promise.promise, mayWait: mayWait)
        _ = try self.transfer(admission)
    }

    /// Accepts a message, and suspends only until there is room for it. Otherwise the same as
    /// ``enqueue(encoded:settled:options:)``.
    func enqueue(
        encoded: ByteBuffer,
        settled: Bool,
        options: AMQPSendOptions,
        as promise: TrackerPromise
    ) async throws(AMQPError) {
        let choice = try self.choice(options)
        switch try self.admit(encoded, settled, choice, promise.promise, mayWait: true) {
        case .admitted: break
        case .closed: throw self.endedError
        case .full:
            _ = try await self.admit(encoded, .whole, isSettled: self.isSettled(settled), choice, promise.promise)
        }
    }

    /// The error that a message behind the first waiting message would get; `nil` if no message waits for room.
    var firstRefusal: AMQPError? { self.outbox.refusalOfFirst(self.node)?.error }

    /// Accepts a small message whose bytes its holder keeps in the memory of the link, if there is room for it now: see
    /// ``TrackerPromise/kept``.
    ///
    /// - Parameters:
    ///   - number: The number of the message with its holder.
    ///   - mayWait: Whether the caller waits for room after a refusal.
    ///   - bound: The largest possible size of the message.
    ///   - write: Writes the message and returns its size; `nil` if the memory does not suffice.
    ///   - hasRoom: Returns whether the holder has room for the bytes of the message.
    /// - Returns: Whether the link has accepted the message. It refuses a message that is too large or for which there is
    ///   no room, and every message after its end.
    @inline(__always)
    func keep(
        as promise: TrackerPromise,
        number: UInt64,
        settled: Bool,
        mayWait: Bool,
        bound: () throws(AMQPError) -> Int,
        write: (UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int?,
        hasRoom: (Int) -> Bool
    ) throws(AMQPError) -> Bool {
        let isSettled = try self.isSettled(settled)
        return try self.arena.withLock { (arena) throws(AMQPError) in
            var isAdmitted = false
            _ = try arena.place(isKept: true, bound: bound, write) { (bytes) throws(AMQPError) in
                try self.check(bytes.count)
                guard hasRoom(bytes.count) else { return false }
                // The answer may arrive before the end of this call.
                promise.kept = KeptMessage(bytes: bytes, number: number, isSettled: isSettled)
                let admission = self.outbox.tryEnqueue(
                    bytes,
                    count: bytes.count,
                    lane: self.lane,
                    node: self.node,
                    isSettled: isSettled,
                    promise: promise.promise,
                    mayWait: mayWait
                )
                if case .admitted = admission { isAdmitted = true } else { promise.kept = nil }
                return isAdmitted
            }
            return isAdmitted
        }
    }
}
