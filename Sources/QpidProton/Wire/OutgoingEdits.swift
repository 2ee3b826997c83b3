internal import NIOCore

/// What is changed in this side's frames after Proton has made them.
///
/// Proton 0.37 writes 0 as the message-format of each transfer, and no capabilities into an attach.
enum OutgoingEdits {
    /// The head of a transfer with the tag and the format that a ``MarkedTag`` carries; nil for one whose tag is not marked.
    static func transfer(_ head: UnsafeRawBufferPointer) -> [UInt8]? {
        var fields = FieldReader(head, offset: 11)
        guard fields.list(), fields.uint() != nil, fields.uint() != nil, let range = fields.smallBinary(),
            range.count == MarkedTag.count,
            let (tag, format) = MarkedTag.read(UnsafeRawBufferPointer(rebasing: head[range])),
            var editor = FrameEditor(head)
        else { return nil }
        editor.performative.set(2, toBinary: tag)
        editor.performative.set(3, to: format)
        // The frame becomes shorter.
        guard case .edited(let bytes) = editor.result(limit: .max) else { return nil }
        return bytes
    }

    /// An attach with the capabilities that travel in the place of the properties; nil for one that has none.
    static func attach(_ frame: UnsafeRawBufferPointer) -> [UInt8]? {
        guard var editor = FrameEditor(frame), editor.performative.isBinary(AttachFields.properties),
            let content = editor.performative.binary(AttachFields.properties),
            let fields = content.withUnsafeBytes({ AttachFields.split($0) })
        else { return nil }
        for (index, field) in zip(AttachFields.all, fields) {
            editor.performative.set(
                index,
                to: Array(content[(content.startIndex + field.lowerBound)..<(content.startIndex + field.upperBound)])
            )
        }
        guard case .edited(let bytes) = editor.result(limit: .max) else { return nil }
        return bytes
    }
}

extension OutgoingEdits {
    /// The highest handle that Proton keeps apart from those that are not attached.
    private static let handleMax = UInt32(Int32.max)

    /// Tells the window in a begin or a flow, where it lies if it can be told there.
    ///
    /// - Parameters:
    ///   - head: The frame, as it lies in the bytes or was gathered from earlier ones.
    ///   - limit: The largest frame that the peer takes, in bytes.
    static func window(
        _ window: UInt32,
        in head: UnsafeRawBufferPointer,
        of bytes: UnsafeMutableRawBufferPointer,
        limit: Int
    ) -> [UInt8]? {
        let isBegin = head.count > 10 && head[10] == 0x11
        if !isBegin, let start = bytes.baseAddress, let place = head.baseAddress {
            // A head that came in pieces lies elsewhere.
            let offset = place - UnsafeRawPointer(start)
            if offset >= 0, offset + head.count <= bytes.count {
                let frame = UnsafeMutableRawBufferPointer(rebasing: bytes[offset..<offset + head.count])
                if FrameEditor.store(incomingWindow: window, in: frame) { return nil }
            }
        }
        guard var editor = FrameEditor(head), let field = editor.incomingWindowField else { return nil }
        editor.performative.set(field, to: window)
        let told = editor
        if isBegin { editor.performative.set(4, to: handleMax) }
        // A begin that has no room for the handle tells the window alone.
        for editor in [editor, told] {
            if case .edited(let bytes) = editor.result(limit: limit) { return bytes }
        }
        return nil
    }
}
