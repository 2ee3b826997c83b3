/// Refuses frames of the peer that Proton 0.37 cannot bear.
///
/// Proton asserts, and the process ends, when a message of several transfers begins without a delivery-id; it takes a
/// transfer on a link on which this side sends for one of its own; and it can be made to look for 2³¹ deliveries one by
/// one.
struct FrameGuard {
    private struct Handle: Hashable {
        let channel: UInt16
        let handle: UInt32
    }

    private enum Link { case receiving, sending, sendingMessage }

    /// What is known of the peer's links. One whose attach is too long to be seen is not here.
    private var links: [Handle: Link] = [:]
    /// The link of the last transfer, for most follow one another.
    private var last: (key: Handle, link: Link)?
    /// A range of 2³¹ ids is negative to Proton, which then looks for each of them.
    private static let widestDisposition: UInt32 = 0x7FFF_FFFE

    /// Looks at the head of a frame. Returns why the connection has to fail.
    mutating func check(_ head: UnsafeRawBufferPointer) -> AMQPError? {
        guard head.count > 8, head[5] == 0 else { return nil }
        let channel = UInt16(head[6]) << 8 | UInt16(head[7])
        var fields = StrictFields(head, offset: Int(head[4]) * 4)
        guard let code = fields.descriptor() else {
            // Proton refuses a performative that it cannot read, but it sees more of the frame than its head.
            return head.count < FrameTap.headLength ? nil : Self.refusal("a performative that cannot be read")
        }
        switch code {
        case 0x12: return self.attach(channel, &fields)
        case 0x14: return self.transfer(channel, &fields)
        case 0x15: return Self.disposition(&fields)
        case 0x16:
            if fields.list(), case .value(let handle)? = fields.uint() {
                self.set(Handle(channel: channel, handle: handle), nil)
            }
            return nil
        case 0x17:
            self.links = self.links.filter { $0.key.channel != channel }
            self.last = nil
            return nil
        default: return nil
        }
    }

    private mutating func set(_ key: Handle, _ link: Link?) {
        self.links[key] = link
        self.last = link.map { (key, $0) }
    }

    private mutating func attach(_ channel: UInt16, _ fields: inout StrictFields) -> AMQPError? {
        guard fields.list(), fields.skipText(), case .value(let handle)? = fields.uint(), let role = fields.bool()
        else {
            return nil
        }
        self.set(Handle(channel: channel, handle: handle), role == .value(true) ? .receiving : .sending)
        return nil
    }

    private mutating func transfer(_ channel: UInt16, _ fields: inout StrictFields) -> AMQPError? {
        guard fields.list(), case .value(let handle)? = fields.uint(), let id = fields.uint(), fields.skipBinary(),
            fields.uint() != nil, fields.bool() != nil, let more = fields.bool()
        else { return Self.refusal("a transfer whose fields cannot be read") }
        let key = Handle(channel: channel, handle: handle)
        let known = self.last?.key == key ? self.last?.link : self.links[key]
        if known == .receiving { return Self.refusal("a transfer on handle \(handle), on which it receives") }
        let hasMore = more == .value(true)
        if hasMore, id == .null, known != .sendingMessage {
            return Self.refusal("a message of several transfers that begins without a delivery-id")
        }
        // When the peer aborts a message, or cannot be seen not to, the next transfer has to name its delivery again.
        let link: Link = hasMore && fields.isNotAborted() ? .sendingMessage : .sending
        if link != known { self.set(key, link) } else { self.last = (key, link) }
        return nil
    }

    private static func disposition(_ fields: inout StrictFields) -> AMQPError? {
        guard fields.list(), fields.bool() != nil, case .value(let first)? = fields.uint(), let last = fields.uint()
        else {
            return Self.refusal("a disposition whose fields cannot be read")
        }
        guard case .value(let last) = last, last &- first > Self.widestDisposition else { return nil }
        return Self.refusal("a disposition of the deliveries from \(first) to \(last)")
    }

    private static func refusal(_ what: String) -> AMQPError {
        AMQPError(.connection, .connectionFramingError, "the peer sent \(what)")
    }
}

/// Reads the fields of a performative in the encodings that the standard allows for them, and in no others.
private struct StrictFields {
    enum Field<Value: Equatable>: Equatable {
        case null
        case value(Value)
    }

    private let bytes: UnsafeRawBufferPointer
    private var offset: Int
    /// The fields of the list that are left; those beyond it are null.
    private var count = 0

    init(_ bytes: UnsafeRawBufferPointer, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    private mutating func bigEndian(_ count: Int) -> UInt64? {
        guard self.offset + count <= self.bytes.count else { return nil }
        defer { self.offset += count }
        return self.bytes[self.offset..<self.offset + count].reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func descriptor() -> UInt64? {
        guard self.bigEndian(1) == 0 else { return nil }
        switch self.bigEndian(1) {
        case 0x53: return self.bigEndian(1)
        case 0x80: return self.bigEndian(8)
        default: return nil
        }
    }

    mutating func list() -> Bool {
        switch self.bigEndian(1) {
        case 0x45: self.count = 0
        case 0xC0:
            guard self.bigEndian(1) != nil, let count = self.bigEndian(1) else { return false }
            self.count = Int(count)
        case 0xD0:
            guard self.bigEndian(4) != nil, let count = self.bigEndian(4) else { return false }
            self.count = Int(count)
        default: return false
        }
        return true
    }

    /// The constructor of the next field; that of null behind the end of the list.
    private mutating func constructor() -> UInt64? {
        guard self.count > 0 else { return 0x40 }
        self.count -= 1
        return self.bigEndian(1)
    }

    /// Nil for what is not a uint.
    mutating func uint() -> Field<UInt32>? {
        switch self.constructor() {
        case 0x40: .null
        case 0x43: .value(0)
        case 0x52: self.bigEndian(1).map { .value(UInt32($0)) }
        case 0x70: self.bigEndian(4).map { .value(UInt32($0)) }
        default: nil
        }
    }

    /// Nil for what is not a boolean.
    mutating func bool() -> Field<Bool>? {
        switch self.constructor() {
        case 0x40: .null
        case 0x41: .value(true)
        case 0x42: .value(false)
        case 0x56: self.bigEndian(1).map { .value($0 != 0) }
        default: nil
        }
    }

    private mutating func skip(_ short: UInt64, _ long: UInt64) -> Bool {
        let length: UInt64?
        switch self.constructor() {
        case 0x40: return true
        case short: length = self.bigEndian(1)
        case long: length = self.bigEndian(4)
        default: return false
        }
        guard let length, length <= UInt64(self.bytes.count - self.offset) else { return false }
        self.offset += Int(length)
        return true
    }

    mutating func skipBinary() -> Bool { self.skip(0xA0, 0xB0) }
    mutating func skipText() -> Bool { self.skip(0xA1, 0xB1) }

    /// Behind `more`: whether it can be seen that aborted is not true.
    mutating func isNotAborted() -> Bool {
        switch self.constructor() {
        case 0x40: break
        case 0x50: guard self.bigEndian(1) != nil else { return false }
        default: return false
        }
        guard self.skipState(), self.bool() != nil, let aborted = self.bool() else { return false }
        return aborted != .value(true)
    }

    /// Passes over null, or over a described list.
    private mutating func skipState() -> Bool {
        switch self.constructor() {
        case 0x40: return true
        case 0x00: break
        default: return false
        }
        guard self.bigEndian(1) == 0x53, self.bigEndian(1) != nil else { return false }
        switch self.bigEndian(1) {
        case 0x45: return true
        case 0xC0:
            guard let length = self.bigEndian(1), length <= UInt64(self.bytes.count - self.offset) else { return false }
            self.offset += Int(length)
            return true
        default: return false
        }
    }
}
