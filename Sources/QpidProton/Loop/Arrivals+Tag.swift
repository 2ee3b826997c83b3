// SPDX-License-Identifier: Apache-2.0

extension Arrivals {
    /// Writes the tag of a delivery before the room for `count` bytes. A ``MarkedTag`` keeps its mark. Other tags are
    /// cut after 32 bytes, the standard's limit.
    @inline(__always)
    func place(
        _ tag: UnsafeRawBufferPointer,
        before count: Int,
        keepsMark: @autoclosure () -> Bool
    ) -> (count: Int, room: UnsafeMutableRawPointer) {
        let isMarked = tag.count == MarkedTag.count && keepsMark()
        let tagCount = isMarked ? MarkedTag.count : min(tag.count, MarkedTag.longest)
        let room = self.room(for: tagCount + count)
        if let start = tag.baseAddress { room.copyMemory(from: start, byteCount: tagCount) }
        return (tagCount, room + tagCount)
    }
}
