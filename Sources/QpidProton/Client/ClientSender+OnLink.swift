// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

// The path of a message on a healthy connection. The link has the only copy of the bytes, and the sender counts the message.
// If the link is lost, the message gets a place in the queue.

extension ClientSender {
    /// Hands a message to the link, if nothing has to wait. Returns `nil` otherwise: the message then goes through the
    /// queue.
    func sendOnLink(
        _ message: AMQPMessage,
        settled: Bool?,
        _ options: AMQPSendOptions,
        mayWait: Bool
    ) throws(AMQPError) -> AMQPClient.Tracker? {
        guard message.header.timeToLive == nil, options.areDefault else { return nil }
        return try self.keep(settled, mayWait) { () throws(AMQPError) in
            try message.encodingRoom()
        } write: { (memory) throws(AMQPError) in
            try message.encode(to: memory)
        }
    }

    /// Hands an encoded message to the link, if nothing has to wait. Otherwise the same as
    /// ``sendOnLink(_:settled:_:mayWait:)``.
    func sendOnLink(
        encoded: ByteBuffer,
        settled: Bool?,
        _ options: AMQPSendOptions,
        mayWait: Bool
    ) throws(AMQPError) -> AMQPClient.Tracker? {
        guard options.areDefault, !ClientMessage.hasTimeToLive(encoded) else { return nil }
        let count = encoded.readableBytes
        return try self.keep(settled, mayWait) {
            count
        } write: { memory in
            guard count <= memory.count else { return nil }
            encoded.withUnsafeReadableBytes { memory.copyMemory(from: $0) }
            return count
        }
    }

    @inline(__always)
    private func keep(
        _ settled: Bool?,
        _ mayWait: Bool,
        bound: () throws(AMQPError) -> Int,
        write: (UnsafeMutableRawBufferPointer) throws(AMQPError) -> Int?
    ) throws(AMQPError) -> AMQPClient.Tracker? {
        let isSettled = try self.isSettled(settled)
        do {
            return try self.state.withLock { (state) throws(AMQPError) -> AMQPClient.Tracker? in
                guard state.end == nil, state.queue.isPassable, state.waiting.isEmpty, !state.isFeeding,
                    let link = state.link
                else { return nil }
                let promise = state.trackers.next()
                var (isAccepted, size) = (false, 0)
                defer { if !isAccepted { state.trackers.putBack(promise) } }
                isAccepted = try link.keep(
                    as: promise,
                    number: state.queue.nextSequence,
                    settled: isSettled,
                    mayWait: mayWait,
                    bound: bound,
                    write: write
                ) { bytes in
                    size = bytes
                    return self.reserve(bytes, &state)
                }
                guard isAccepted else { return nil }
                promise.attempts = 1
                return AMQPClient.Tracker(tracker: promise.tracker, sequence: state.queue.acceptOnLink(bytes: size))
            }
        } catch {
            throw error.concerning(.notSent)
        }
    }

    /// Gives a message that its link has failed a place in the queue, with a copy of its bytes.
    func takeBack(_ message: KeptMessage, _ promise: TrackerPromise, _ state: inout State) -> Queue.Key {
        let copy = ClientMessage(message.bytes.buffer, isSettled: message.isSettled)
        message.bytes.done()
        promise.kept = nil
        let key = state.queue.returnFromLink(
            Accepted(message: copy, promise: promise),
            sequence: message.number,
            bytes: message.bytes.count,
            isSettled: message.isSettled
        )
        promise.place = key.slot
        return key
    }

    /// Resolves the tracker of a message without a place, after the lock has been released.
    func resolveOnLink(_ answer: TrackerSource.Answer) {
        if case .success = answer.result, answer.promise.kept != nil { answer.promise.resolve(answer.result) }
    }
}

extension TrackerSource.Answer {
    /// The accepted message; `nil` if the message has a place in the queue or another outcome.
    var acceptedOnLink: KeptMessage? {
        guard case .success(.accepted) = self.result else { return nil }
        return self.promise.kept
    }
}
