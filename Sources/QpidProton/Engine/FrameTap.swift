/// Walks the frames of a byte stream, in whatever pieces it comes, and shows the head of each. It changes nothing.
struct FrameTap {
    /// Enough of a frame for the fixed fields of a `begin` or a `flow`.
    static let headLength = 512

    /// Bytes to pass over: at first the protocol header, then the rest of each frame.
    private var skip = 8
    /// The head of a frame that came in pieces.
    private var head: [UInt8] = []
    /// A frame's size cannot be: Proton will end the connection, and there is nothing more to see.
    private var isBroken = false

    mutating func consume(_ bytes: UnsafeRawBufferPointer, _ visit: (UnsafeRawBufferPointer) -> Void) {
        var rest = bytes[...]
        while !rest.isEmpty, !self.isBroken {
            if self.skip > 0 {
                let count = min(self.skip, rest.count)
                rest = rest.dropFirst(count)
                self.skip -= count
            } else if self.head.isEmpty, let size = self.size(rest), rest.count >= min(size, Self.headLength) {
                visit(UnsafeRawBufferPointer(rebasing: rest.prefix(min(size, Self.headLength))))
                self.skip = size
            } else {
                self.collect(&rest, visit)
            }
        }
    }

    /// Puts a head together from pieces.
    private mutating func collect(
        _ rest: inout Slice<UnsafeRawBufferPointer>,
        _ visit: (UnsafeRawBufferPointer) -> Void
    ) {
        let size = self.head.withUnsafeBytes { self.size($0[...]) }
        let wanted = size.map { min($0, Self.headLength) } ?? 8
        let count = min(wanted - self.head.count, rest.count)
        self.head.append(contentsOf: rest.prefix(count))
        rest = rest.dropFirst(count)
        guard let size = self.head.withUnsafeBytes({ self.size($0[...]) }) else { return }
        guard self.head.count == min(size, Self.headLength) else { return }
        self.head.withUnsafeBytes { visit($0) }
        self.skip = size - self.head.count
        self.head.removeAll(keepingCapacity: true)
    }

    /// The size of the frame that begins here, once its four bytes are there.
    private mutating func size(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int? {
        guard bytes.count >= 8 else { return nil }
        let size = Int(UInt32(bigEndian: UnsafeRawBufferPointer(rebasing: bytes).loadUnaligned(as: UInt32.self)))
        guard size >= 8 else {
            self.isBroken = true
            return nil
        }
        return size
    }
}

/// The performatives that the tap tells apart.
enum TappedFrame {
    case begin(channel: UInt16, Begin)
    case flow(channel: UInt16, Flow)
    case transfer(channel: UInt16)
    case end(channel: UInt16)

    struct Begin {
        var remoteChannel: UInt16?
        var nextOutgoingID: UInt32
        var incomingWindow: UInt32
    }

    struct Flow {
        var nextIncomingID: UInt32?
        var incomingWindow: UInt32
    }

    /// Nil for other performatives, and for what cannot be read: Proton will judge it.
    init?(_ head: UnsafeRawBufferPointer) {
        guard head.count >= 11, head[5] == 0 else { return nil }
        let channel = UInt16(head[6]) << 8 | UInt16(head[7])
        var fields = FieldReader(head, offset: Int(head[4]) * 4)
        switch fields.descriptor() {
        case 0x14: self = .transfer(channel: channel)
        case 0x11:
            guard fields.list() else { return nil }
            let remoteChannel = fields.integer().map { UInt16(truncatingIfNeeded: $0) }
            guard let id = fields.integer(), let window = fields.integer() else { return nil }
            self = .begin(
                channel: channel,
                Begin(remoteChannel: remoteChannel, nextOutgoingID: id, incomingWindow: window)
            )
        case 0x13:
            guard fields.list() else { return nil }
            let nextIncomingID = fields.integer()
            guard let window = fields.integer() else { return nil }
            self = .flow(channel: channel, Flow(nextIncomingID: nextIncomingID, incomingWindow: window))
        case 0x17: self = .end(channel: channel)
        default: return nil
        }
    }
}

/// Reads the first fields of a performative.
private struct FieldReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    private mutating func bigEndian(_ count: Int) -> UInt64? {
        guard self.offset + count <= self.bytes.count else { return nil }
        defer { self.offset += count }
        return self.bytes[self.offset..<self.offset + count].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The code of the descriptor: a small or a full ulong.
    mutating func descriptor() -> UInt64? {
        guard self.bigEndian(1) == 0 else { return nil }
        switch self.bigEndian(1) {
        case 0x53: return self.bigEndian(1)
        case 0x80: return self.bigEndian(8)
        default: return nil
        }
    }

    /// Passes over the head of a list.
    mutating func list() -> Bool {
        switch self.bigEndian(1) {
        case 0xC0: self.bigEndian(2) != nil
        case 0xD0: self.bigEndian(8) != nil
        default: false
        }
    }

    /// A ushort or uint in any of its forms; nil for null and for the end.
    mutating func integer() -> UInt32? {
        switch self.bigEndian(1) {
        case 0x43: 0
        case 0x52: self.bigEndian(1).map { UInt32($0) }
        case 0x60: self.bigEndian(2).map { UInt32($0) }
        case 0x70: self.bigEndian(4).map { UInt32($0) }
        default: nil
        }
    }
}
