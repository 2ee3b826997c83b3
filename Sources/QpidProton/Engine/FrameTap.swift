/// Walks the frames of a byte stream, in whatever pieces it comes, and shows the head of each. It changes nothing.
struct FrameTap {
    /// Enough of a frame for the fixed fields of a `begin` or a `flow`, and for those of an `attach` behind a long name.
    static let headLength = 1_024

    /// Bytes to pass over: at first the protocol header, then the rest of each frame.
    private var skip = 8
    /// The head of a frame that came in pieces.
    private var head: [UInt8] = []
    /// A frame's size cannot be: Proton will end the connection, and there is nothing more to see.
    private var isBroken = false

    mutating func consume(_ bytes: UnsafeRawBufferPointer, _ visit: (UnsafeRawBufferPointer) -> Void) {
        var offset = 0
        while offset < bytes.count, !self.isBroken {
            if self.skip > 0 {
                let count = min(self.skip, bytes.count - offset)
                offset += count
                self.skip -= count
                continue
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            if self.head.isEmpty, let size = self.size(rest), rest.count >= min(size, Self.headLength) {
                visit(UnsafeRawBufferPointer(rebasing: rest[..<min(size, Self.headLength)]))
                self.skip = size
            } else {
                offset += self.collect(rest, visit)
            }
        }
    }

    /// Puts a head together from pieces. Returns how many bytes it took.
    private mutating func collect(_ rest: UnsafeRawBufferPointer, _ visit: (UnsafeRawBufferPointer) -> Void) -> Int {
        let size = self.head.withUnsafeBytes { self.size($0) }
        let wanted = size.map { min($0, Self.headLength) } ?? 8
        let count = min(wanted - self.head.count, rest.count)
        self.head.append(contentsOf: rest.prefix(count))
        guard let size = self.head.withUnsafeBytes({ self.size($0) }),
            self.head.count == min(size, Self.headLength)
        else { return count }
        self.head.withUnsafeBytes { visit($0) }
        self.skip = size - self.head.count
        self.head.removeAll(keepingCapacity: true)
        return count
    }

    /// The size of the frame that begins here, once its first eight bytes are there.
    private mutating func size(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= 8 else { return nil }
        let size = Int(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        guard size >= 8 else {
            self.isBroken = true
            return nil
        }
        return size
    }
}
