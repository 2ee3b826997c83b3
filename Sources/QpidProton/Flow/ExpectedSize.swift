// SPDX-License-Identifier: Apache-2.0

/// The expected size of a link's next messages: the largest recent one.
struct ExpectedSize {
    private(set) var bytes: Int

    init(_ bytes: Int) {
        self.bytes = bytes
    }

    /// A message of that many bytes has arrived. The size grows at once and shrinks slowly, so that a large message
    /// among small ones is remembered.
    mutating func note(_ size: Int) {
        self.bytes = max(size, self.bytes - self.bytes / 16)
    }
}
