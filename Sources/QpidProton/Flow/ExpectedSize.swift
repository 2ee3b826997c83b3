// SPDX-License-Identifier: Apache-2.0

/// The expected size of a link's next messages in bytes: the size of the largest recent message.
struct ExpectedSize {
    private(set) var bytes: Int

    init(_ bytes: Int) {
        self.bytes = bytes
    }

    /// Records the size of a message that has arrived. The expected size grows at once and shrinks slowly, so that one
    /// large message among small ones still counts.
    mutating func note(_ size: Int) {
        self.bytes = max(size, self.bytes - self.bytes / 16)
    }
}
