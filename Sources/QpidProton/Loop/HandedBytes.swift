// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// Bytes in Proton that are not yet written to the socket.
struct InFlightBytes {
    var bytes: Int
    let node: SlotKey
    /// The promise of a message that was sent settled, which the write completes; `nil` for all other bytes.
    let settled: OutcomePromise?
}

/// The bytes of messages that one session has handed to Proton, until Proton frames them.
struct HandedBytes {
    private var queue: Deque<InFlightBytes> = []
    private var bytes = 0

    @inline(__always)
    mutating func add(_ handed: InFlightBytes) {
        self.bytes += handed.bytes
        if let last = self.queue.indices.last, self.queue[last].node == handed.node, self.queue[last].settled == nil {
            self.queue[last] = InFlightBytes(
                bytes: self.queue[last].bytes + handed.bytes,
                node: handed.node,
                settled: handed.settled
            )
        } else {
            self.queue.append(handed)
        }
    }

    /// Removes the bytes that Proton has framed. Proton frames bytes in the order in which it received them.
    ///
    /// - Parameter outgoing: The unframed bytes in Proton.
    @inline(__always)
    mutating func takeFramed(leaving outgoing: Int, into writes: inout PendingWrites) {
        var count = self.bytes - outgoing
        self.bytes = outgoing
        while count > 0, let first = self.queue.first {
            if first.bytes <= count {
                writes.add(first)
                self.queue.removeFirst()
                count -= first.bytes
            } else {
                writes.add(InFlightBytes(bytes: count, node: first.node, settled: nil))
                self.queue[self.queue.startIndex].bytes -= count
                count = 0
            }
        }
    }

    /// Removes all bytes, because they are not written any more.
    mutating func takeAll() -> Deque<InFlightBytes> {
        defer {
            self.queue = []
            self.bytes = 0
        }
        return self.queue
    }
}
