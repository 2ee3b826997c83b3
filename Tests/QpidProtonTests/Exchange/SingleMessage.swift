// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

/// Returns a message without a queue. The test fails it, or resolves its outcome and releases its bytes.
func singleMessage(
    _ bytes: Int,
    node: SlotKey = SlotKey(bitPattern: 1),
    isSettled: Bool = false,
    stream: UInt32 = 0
) -> PendingMessage {
    var source = OutcomeSource()
    defer { source.close() }
    return PendingMessage(
        bytes: MessageChunk.message(payload(bytes)),
        outcome: source.next().promise,
        lane: node,
        node: node,
        isSettled: isSettled,
        stream: stream
    )
}
