// SPDX-License-Identifier: Apache-2.0

/// An editor that replaces fields of one frame, in either direction, and leaves all other bytes unchanged.
///
/// The editor accepts a complete AMQP frame, or the head of a transfer that contains its performative. The bytes after
/// the head follow unchanged.
struct FrameEditor {
    enum Result: Equatable {
        case unchanged
        /// The frame, or the head, with its replacements.
        case edited([UInt8])
        /// The edited frame would have this size, which is above the limit. No field is replaced.
        case tooLarge(Int)
    }

    var performative: EncodedComposite
    /// The header and the extended header.
    private let front: ArraySlice<UInt8>
    /// The bytes after the performative.
    private let rest: ArraySlice<UInt8>
    private let size: Int

    /// Reads a frame; `nil` for an empty frame, a frame of another type than AMQP, and an unreadable performative.
    init?(_ head: UnsafeRawBufferPointer) {
        guard let prefix = FramePrefix(head), let offset = prefix.bodyOffset, offset < head.count else { return nil }
        let bytes = Array(head)
        guard let performative = EncodedComposite(bytes[offset...]) else { return nil }
        self.performative = performative
        self.front = bytes[..<offset]
        self.rest = bytes[(offset + performative.originalCount)...]
        self.size = prefix.size
    }

    /// Returns the frame with its replacements.
    ///
    /// - Parameter limit: The size to which the frame may grow, in bytes.
    func result(limit: Int) -> Result {
        guard self.performative.isChanged else { return .unchanged }
        let encoded = self.performative.encoded
        let size = self.size + encoded.count - self.performative.originalCount
        guard size <= max(limit, self.size), let field = UInt32(exactly: size) else { return .tooLarge(size) }
        return .edited(EncodedComposite.bigEndian(field) + self.front.dropFirst(4) + encoded + self.rest)
    }

    /// Overwrites the incoming-window of a begin or a flow in place. Returns false if the frame has no window of four
    /// bytes.
    static func store(incomingWindow: UInt32, in frame: UnsafeMutableRawBufferPointer) -> Bool {
        let bytes = UnsafeRawBufferPointer(frame)
        guard let bodyOffset = FramePrefix(bytes)?.bodyOffset else { return false }
        var fields = FieldReader(bytes, offset: bodyOffset)
        let offset: Int?
        switch fields.descriptor() {
        case 0x11: offset = fields.list() && fields.ushort() != nil && fields.uint() != nil ? fields.wideUint() : nil
        case 0x13: offset = fields.list() && fields.uint() != nil ? fields.wideUint() : nil
        default: offset = nil
        }
        guard let offset else { return false }
        frame.storeBytes(of: incomingWindow.bigEndian, toByteOffset: offset, as: UInt32.self)
        return true
    }

    /// The index of the incoming-window among the fields of a begin or a flow; `nil` for other performatives.
    var incomingWindowField: Int? {
        switch self.performative.descriptor {
        case .code(0x11): 2
        case .code(0x13): 1
        default: nil
        }
    }
}
