/// The size that the next messages of a link are expected to have: the largest that came lately.
struct ExpectedSize {
    private(set) var bytes: Int

    init(_ bytes: Int) {
        self.bytes = bytes
    }

    /// A message of that many bytes has come. Grows at once, and shrinks slowly: a large message among small ones is not
    /// forgotten soon.
    mutating func note(_ size: Int) {
        self.bytes = max(size, self.bytes - self.bytes / 16)
    }
}
