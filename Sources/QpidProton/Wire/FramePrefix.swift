// SPDX-License-Identifier: Apache-2.0

/// The first eight bytes of each frame. Source: AMQP 1.0 §2.3.1.
struct FramePrefix {
    static let count = 8

    /// The size of the whole frame, in bytes.
    let size: Int
    /// The start of the body, in words of four bytes.
    let dataOffset: UInt8
    let type: UInt8
    let channel: UInt16

    /// Reads the prefix; `nil` if it is not complete.
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

    /// The start of the body, in bytes; `nil` for a frame of another type, or a body that would start within the
    /// prefix.
    @inline(__always)
    var bodyOffset: Int? {
        let offset = Int(self.dataOffset) * 4
        return self.type == 0 && offset >= Self.count ? offset : nil
    }
}
