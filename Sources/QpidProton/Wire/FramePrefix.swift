/// The eight bytes that each frame begins with. Source: AMQP 1.0 §2.3.1.
struct FramePrefix {
    static let count = 8

    /// The bytes of the whole frame.
    let size: Int
    /// Where the body begins, in words of four bytes.
    let dataOffset: UInt8
    let type: UInt8
    let channel: UInt16

    /// Nil where not all of it is there.
    @inline(__always)
    init?(_ frame: UnsafeRawBufferPointer) {
        var cursor = ByteCursor(frame)
        guard frame.count >= Self.count, let size = cursor.number(isWide: true), let dataOffset = cursor.byte(),
            let type = cursor.byte(), let channel = cursor.integer(UInt16.self)
        else { return nil }
        self.size = size
        self.dataOffset = dataOffset
        self.type = type
        self.channel = channel
    }

    /// Where the body begins, in bytes; nil for a frame that is none of AMQP, or whose body would begin within the prefix.
    @inline(__always)
    var bodyOffset: Int? {
        let offset = Int(self.dataOffset) * 4
        return self.type == 0 && offset >= Self.count ? offset : nil
    }
}
