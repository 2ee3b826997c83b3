// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The edits of this side's frames after Proton has written them.
///
/// Proton 0.37 writes 0 as the message-format of each transfer, and no capabilities into an attach.
enum OutgoingEdits {
    /// Returns the head of a transfer with the tag and the format of a ``MarkedTag``; `nil` for a tag without a mark.
    static func transfer(_ head: UnsafeRawBufferPointer) -> [UInt8]? {
        var fields = FieldReader(head, offset: 11)
        guard fields.list(), fields.uint() != nil, fields.uint() != nil, let range = fields.smallBinary(),
            range.count == MarkedTag.count,
            let (tag, format) = MarkedTag.read(UnsafeRawBufferPointer(rebasing: head[range])),
            var editor = FrameEditor(head)
        else { return nil }
        editor.performative.set(2, toBinary: tag)
        editor.performative.set(3, to: format)
        // The edited frame is shorter.
        guard case .edited(let bytes) = editor.result(limit: .max) else { return nil }
        return bytes
    }

    /// Returns an attach with the capabilities that its properties carry; `nil` without capabilities.
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
    /// The highest handle that Proton distinguishes from the handles of unattached links.
    private static let handleMax = UInt32(Int32.max)

    /// Writes the window into a begin or a flow, in place if possible. Returns the edited frame; `nil` if the edit was
    /// in place or impossible.
    ///
    /// - Parameters:
    ///   - head: The frame, in place or assembled from pieces.
    ///   - limit: The largest frame that the peer accepts, in bytes.
    static func window(
        _ window: UInt32,
        in head: UnsafeRawBufferPointer,
        of bytes: UnsafeMutableRawBufferPointer,
        limit: Int
    ) -> [UInt8]? {
        let isBegin = head.count > 10 && head[10] == 0x11
        if !isBegin, let start = bytes.baseAddress, let place = head.baseAddress {
            // A head that was assembled from pieces lies outside `bytes`.
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
        // A begin without room for the handle carries the window alone.
        for editor in [editor, told] {
            if case .edited(let bytes) = editor.result(limit: limit) { return bytes }
        }
        return nil
    }
}
