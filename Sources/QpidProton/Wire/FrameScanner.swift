// SPDX-License-Identifier: Apache-2.0

/// A scanner that walks the frames of a byte stream, in pieces of any size, and presents the head of each. The caller
/// may replace a head.
///
/// ``forEachPart(of:_:)`` returns the stream with its replacements. The scanner forwards a head in several pieces when
/// it is complete, and all other bytes at once.
struct FrameScanner {
    /// The length of a head in bytes. It suffices for the fixed fields of a `begin` or a `flow`, and for those of an
    /// `attach` after a long name.
    static let headLength = 1_024

    /// Bytes of the last piece that are not forwarded unchanged.
    private struct Change {
        enum Replacement {
            /// The scanner buffers the bytes, because their head is not complete.
            case nothing
            /// The bytes complete a head, which replaces them.
            case head
            case bytes([UInt8])
        }

        let range: Range<Int>
        let replacement: Replacement
    }

    /// The largest allowed frame, in bytes. With this limit, the scanner presents frames other than transfers whole;
    /// with `nil`, it presents heads only.
    private let maxSize: Int?
    /// The number of bytes to skip: at first the protocol header, then the rest of each frame.
    private var skip = 8
    /// The size of the frame whose rest the scanner skips.
    private var frameSize = 8
    /// The head of a frame that arrived in pieces.
    private var head: [UInt8] = []
    /// The head in pieces that the last piece completed. A piece completes at most one such head.
    private var completed: [UInt8] = []
    private var changes: [Change] = []
    /// The impossible size of a frame, at which the walk ends; `nil` while all sizes are possible.
    private(set) var badSize: Int?

    init(maxSize: Int? = nil) {
        self.maxSize = maxSize
    }

    /// The number of received bytes of an incomplete frame.
    var incomplete: Int { self.skip > 0 ? self.frameSize - self.skip : self.head.count }

    /// Whether the last piece is forwarded with changes.
    var hasChanges: Bool { !self.changes.isEmpty }

    /// The treatment of a head.
    enum Verdict {
        case pass
        case replace([UInt8])
        /// The walk ends before the frame, and the next call presents it again.
        case stop
    }

    /// Presents the heads that end in a piece of the stream.
    ///
    /// - Parameter visit: Returns the replacement of the head; `nil` to forward the head unchanged.
    mutating func consume(_ bytes: UnsafeRawBufferPointer, _ visit: (UnsafeRawBufferPointer) -> [UInt8]?) {
        self.walk(bytes) { head in visit(head).map { .replace($0) } ?? .pass }
    }

    /// Presents the heads that end in a piece of the stream, until a frame has to wait.
    ///
    /// - Returns: The number of walked bytes: all bytes, unless the walk ended before a frame or at ``badSize``.
    @discardableResult
    mutating func walk(_ bytes: UnsafeRawBufferPointer, _ visit: (UnsafeRawBufferPointer) -> Verdict) -> Int {
        if !self.changes.isEmpty { self.changes.removeAll(keepingCapacity: true) }
        var offset = 0
        while offset < bytes.count {
            if self.skip > 0 {
                let count = min(self.skip, bytes.count - offset)
                offset += count
                self.skip -= count
                continue
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            if self.head.isEmpty, let size = self.size(rest), rest.count >= self.wanted(rest, size) {
                let wanted = self.wanted(rest, size)
                switch visit(UnsafeRawBufferPointer(rebasing: rest[..<wanted])) {
                case .pass: break
                case .replace(let edited):
                    self.changes.append(Change(range: offset..<offset + wanted, replacement: .bytes(edited)))
                case .stop: return offset
                }
                self.skip = size
                self.frameSize = size
            } else {
                guard let count = self.collect(rest, at: offset, visit) else { return offset }
                offset += count
            }
        }
        return offset
    }

    /// Passes to `body` the parts of the last piece to forward, in order.
    ///
    /// - Parameter bytes: The walked bytes.
    func forEachPart(of bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard self.hasChanges else { return body(bytes) }
        var start = 0
        for change in self.changes {
            if start < change.range.lowerBound {
                body(UnsafeRawBufferPointer(rebasing: bytes[start..<change.range.lowerBound]))
            }
            switch change.replacement {
            case .nothing: break
            case .head: self.completed.withUnsafeBytes { body($0) }
            case .bytes(let edited): edited.withUnsafeBytes { body($0) }
            }
            start = change.range.upperBound
        }
        if start < bytes.count { body(UnsafeRawBufferPointer(rebasing: bytes[start...])) }
    }

    /// Assembles a head from pieces. Returns the number of used bytes; `nil` if the walk ends.
    private mutating func collect(
        _ rest: UnsafeRawBufferPointer,
        at offset: Int,
        _ visit: (UnsafeRawBufferPointer) -> Verdict
    ) -> Int? {
        guard self.badSize == nil else { return nil }
        let size = self.head.withUnsafeBytes { self.size($0) }
        let wanted = size.map { size in self.head.withUnsafeBytes { self.wanted($0, size) } } ?? FramePrefix.count
        let count = min(wanted - self.head.count, rest.count)
        let range = offset..<offset + count
        self.head.append(contentsOf: rest.prefix(count))
        guard let size = self.head.withUnsafeBytes({ self.size($0) }),
            self.head.count == self.head.withUnsafeBytes({ self.wanted($0, size) })
        else {
            guard self.badSize == nil else { return nil }
            self.changes.append(Change(range: range, replacement: .nothing))
            return count
        }
        switch self.head.withUnsafeBytes({ visit($0) }) {
        case .pass: self.changes.append(Change(range: range, replacement: .head))
        case .replace(let edited): self.changes.append(Change(range: range, replacement: .bytes(edited)))
        case .stop:
            self.head.removeLast(count)
            return nil
        }
        self.skip = size - self.head.count
        self.frameSize = size
        swap(&self.head, &self.completed)
        self.head.removeAll(keepingCapacity: true)
        return count
    }

    /// Returns the number of bytes of a frame to present, as far as its first bytes determine it.
    @inline(__always)
    private func wanted(_ bytes: UnsafeRawBufferPointer, _ size: Int) -> Int {
        size <= Self.headLength ? size : self.wantedOfLarge(bytes, size)
    }

    private func wantedOfLarge(_ bytes: UnsafeRawBufferPointer, _ size: Int) -> Int {
        guard bytes.count >= Self.headLength, self.maxSize != nil else { return Self.headLength }
        return FrameHeader.channelOfTransfer(bytes) == nil ? size : Self.headLength
    }

    /// Returns the size of the frame that starts here; `nil` without its first eight bytes.
    private mutating func size(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let size = FramePrefix(bytes)?.size else { return nil }
        guard size >= FramePrefix.count, size <= self.maxSize ?? .max else {
            self.badSize = size
            return nil
        }
        return size
    }
}
