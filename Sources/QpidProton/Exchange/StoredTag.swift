// SPDX-License-Identifier: Apache-2.0

/// A delivery-tag of up to 32 bytes, stored inline, with the message-format in the padding.
struct StoredTag: Sendable {
    var storage: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    var count: UInt8 = 0
    var format: UInt32 = 0

    /// Stores a tag, and the message-format of a marked tag.
    ///
    /// - Parameter bytes: The tag; a tag of more than 32 bytes is a ``MarkedTag``.
    init(_ bytes: UnsafeRawBufferPointer) {
        var bytes = bytes
        if bytes.count > MarkedTag.longest, let (tag, format) = MarkedTag.read(bytes) {
            bytes = tag
            self.format = format
        }
        let count = min(bytes.count, MarkedTag.longest)
        self.count = UInt8(count)
        withUnsafeMutableBytes(of: &self.storage) { storage in
            storage.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
        }
    }
}
