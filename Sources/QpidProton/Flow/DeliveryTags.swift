// SPDX-License-Identifier: Apache-2.0

/// The delivery-tags of a sender, and the numbers of its messages.
///
/// A tag is the number of its message, until the application chooses a tag or a format. From then on the sender stores
/// the tags of unsettled deliveries, so that no tag is used twice.
struct DeliveryTags {
    /// The number of messages that have started.
    private(set) var begun = 0
    /// The count of numbers that the library has skipped, because the application had chosen them as tags.
    private var skipped = 0
    /// The tags of the unsettled deliveries, with the numbers of their messages; `nil` until the application chooses a
    /// tag or a format.
    private var inUse: [[UInt8]: Int]?

    /// Whether the tags are stored.
    @inline(__always) var areKept: Bool { self.inUse != nil }

    // MARK: Beginning a delivery

    /// Starts a message with a tag of the library. Returns its number.
    @inline(__always)
    mutating func begin() -> Int {
        self.begun += 1
        return self.begun + self.skipped
    }

    /// Starts a message. Returns its tag.
    ///
    /// Throws if the chosen tag is in use.
    ///
    /// - Parameters:
    ///   - chosen: The tag that the application has chosen; `nil` for a tag of the library.
    ///   - isSettled: Whether the message is sent settled, so that its tag need not be stored.
    mutating func begin(_ chosen: [UInt8]?, isSettled: Bool) throws(AMQPError) -> [UInt8] {
        if let chosen, self.inUse?[chosen] != nil { throw .tagInUse(chosen) }
        var tag = chosen ?? self.nextOwn
        while chosen == nil, self.inUse?[tag] != nil {
            self.skipped += 1
            tag = self.nextOwn
        }
        self.begun += 1
        if !isSettled { self.inUse?[tag] = self.begun }
        return tag
    }

    /// The library's tag of the next message.
    private var nextOwn: [UInt8] { Self.withTag(self.begun + 1 + self.skipped) { Array($0) } }

    /// Calls `body` with a number as a tag of 1 to 8 bytes, without leading zeros.
    @inline(__always)
    static func withTag<Result>(_ number: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeBytes(of: number.bigEndian) { bytes in
            body(UnsafeRawBufferPointer(rebasing: bytes.suffix(8 - number.leadingZeroBitCount / 8)))
        }
    }

    // MARK: The tags in use

    /// Stores the tags from now on.
    mutating func keep() {
        if self.inUse == nil { self.inUse = [:] }
    }

    /// Stores the tag of an earlier unsettled delivery. The application has chosen no tag until now, so this tag is the
    /// message's number.
    mutating func keep(_ tag: UnsafeRawBufferPointer) {
        self.inUse?[Self.unmarked(tag)] = Self.number(tag)
    }

    /// Frees the tag of a delivery that is about to be settled.
    @inline(__always)
    mutating func free(_ tag: UnsafeRawBufferPointer) {
        if self.inUse != nil { self.inUse?[Self.unmarked(tag)] = nil }
    }

    /// Returns the message number of a delivery whose tag is still in use.
    func number(of tag: UnsafeRawBufferPointer) -> Int {
        guard let inUse = self.inUse else { return Self.number(tag) }
        return inUse[Self.unmarked(tag)] ?? 0
    }

    private static func unmarked(_ tag: UnsafeRawBufferPointer) -> [UInt8] { Array(MarkedTag.read(tag)?.tag ?? tag) }

    /// Returns the number in a tag of the library.
    private static func number(_ tag: UnsafeRawBufferPointer) -> Int {
        Int(truncatingIfNeeded: tag.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }
}

extension AMQPError {
    fileprivate static func tagInUse(_ tag: [UInt8]) -> AMQPError {
        let text =
            "the delivery-tag 0x\(tag.hex) belongs to a delivery of the link that is not settled; "
            + "choose another one, or wait until that delivery is settled"
        return AMQPError(scope: .delivery, condition: .resourceLocked, detail: text, fate: .notSent)
    }
}
