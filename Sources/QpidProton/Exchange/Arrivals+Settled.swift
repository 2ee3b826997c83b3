// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// Tasks can receive messages that the sender has settled even after the end of their link, because the sender does not
// send them again.

extension Arrivals.Batch {
    /// Removes the messages that the sender has not settled, and returns their keys. The settled messages stay, in
    /// order.
    ///
    /// - Parameter isUnsettled: Whether the delivery of a key is still unsettled.
    mutating func removeUnsettled(_ isUnsettled: (SlotKey) -> Bool) -> [SlotKey] {
        var keys: [SlotKey] = []
        let kept = Arrivals()
        var large = self.large[...]
        for chunk in self.chunks { _ = kept.keep(chunk, 0..<chunk.count, &large, isUnsettled, removed: &keys) }
        self = kept.take()
        return keys
    }
}

extension Arrivals {
    /// Adds the settled messages of a part of a chunk, and appends the keys of the unsettled messages to `removed`.
    ///
    /// Returns the number of added messages whose receipt is reported.
    func keep(
        _ chunk: ArrivalChunk,
        _ range: Range<Int>,
        _ large: inout ArraySlice<LargeArrival>,
        _ isUnsettled: (SlotKey) -> Bool,
        removed: inout [SlotKey]
    ) -> Int {
        var reported = 0
        for index in range {
            let record = chunk[index]
            let own = record.isLarge ? large.popFirst() : nil
            let key = record.slot == 0 ? nil : SlotKey(bitPattern: record.slot)
            if let key, isUnsettled(key) {
                removed.append(key)
            } else {
                let isReported = chunk.sums(index..<(index + 1)).reported > 0
                if isReported { reported += 1 }
                self.append(record, tag: chunk.tagBytes(record), own ?? .whole(chunk.payload(record)), isReported)
            }
        }
        return reported
    }

    /// Adds a message that arrived earlier.
    private func append(
        _ record: Record,
        tag: UnsafeRawBufferPointer,
        _ message: LargeArrival,
        _ isReported: Bool
    ) {
        let count = tag.count
        let room = self.room(for: count + (record.isLarge ? 0 : record.count))
        if let start = tag.baseAddress { room.copyMemory(from: start, byteCount: count) }
        if record.isLarge {
            return self.append(
                large: message,
                tagCount: count,
                slot: record.slot,
                sequence: record.sequence,
                isReported: isReported
            )
        }
        if case .whole(let payload) = message {
            payload.withUnsafeReadableBytes { bytes in
                if let start = bytes.baseAddress { (room + count).copyMemory(from: start, byteCount: bytes.count) }
            }
        }
        self.append(
            tagCount: count,
            count: record.count,
            slot: record.slot,
            sequence: record.sequence,
            isReported: isReported
        )
    }
}
