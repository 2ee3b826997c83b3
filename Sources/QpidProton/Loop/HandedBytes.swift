internal import DequeModule

/// Bytes that were handed to Proton and are not yet written to the socket.
struct InFlightBytes {
    var bytes: Int
    let node: SlotKey
    /// A message that was sent settled: it is done when it has been written.
    let settled: OutcomePromise?
}

/// The bytes of messages that were handed to Proton on one session, until Proton frames them.
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

    /// Takes what Proton has framed. Proton frames in the order in which it was handed.
    ///
    /// - Parameter outgoing: The bytes that Proton has not framed.
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

    /// Takes what will not be written any more.
    mutating func takeAll() -> Deque<InFlightBytes> {
        defer {
            self.queue = []
            self.bytes = 0
        }
        return self.queue
    }
}
