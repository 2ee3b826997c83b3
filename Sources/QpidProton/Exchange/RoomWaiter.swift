// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A message, or a further part of one, that waits for room in the send limits.
struct RoomWaiter: Sendable {
    let bytes: ByteBuffer
    let lane: SlotKey
    let node: SlotKey
    let isSettled: Bool
    let choice: SendChoice?
    let promise: OutcomePromise?
    let part: MessagePart
    /// The outcome of the message of which this is a further part; `nil` for a whole message or its first part.
    let reply: OutcomeReply?
    let continuation: WaitingTask<Result<OutcomeReply, AMQPError>>

    /// Returns the further part, with its bytes in the memory of the link.
    func streamPart(_ bytes: MessageBytes) -> StreamPart {
        StreamPart(
            bytes: bytes,
            lane: self.lane,
            node: self.node,
            stream: self.part.number,
            isLast: self.part.isLast
        )
    }
}
