// SPDX-License-Identifier: Apache-2.0

/// The edits of the peer's frames before Proton reads them.
///
/// Proton 0.37 recognises performatives, delivery states and the coordinator by numeric descriptors only, and ignores a
/// state with a symbolic descriptor. It stores the texts of errors as C strings, which end at the first zero byte. It
/// stores no message-format.
enum IncomingEdits {
    private static let performatives: [String: UInt8] = [
        "amqp:open:list": 0x10, "amqp:begin:list": 0x11, "amqp:attach:list": 0x12, "amqp:flow:list": 0x13,
        "amqp:transfer:list": 0x14, "amqp:disposition:list": 0x15, "amqp:detach:list": 0x16, "amqp:end:list": 0x17,
        "amqp:close:list": 0x18,
    ]
    private static let states: [String: UInt8] = [
        "amqp:received:list": 0x23, "amqp:accepted:list": 0x24, "amqp:rejected:list": 0x25, "amqp:released:list": 0x26,
        "amqp:modified:list": 0x27, "amqp:declared:list": 0x33, "amqp:transactional-state:list": 0x34,
    ]
    private static let termini: [String: UInt8] = [
        "amqp:source:list": 0x28, "amqp:target:list": 0x29, "amqp:coordinator:list": 0x30,
    ]

    /// Returns the edited frame for Proton, or its head; `nil` if the frame needs no edit. Throws if the edited frame
    /// is too large for Proton.
    ///
    /// - Parameter limit: The largest frame that Proton accepts, in bytes.
    static func edit(_ head: UnsafeRawBufferPointer, limit: Int) throws(AMQPError) -> [UInt8]? {
        guard self.mayBeNeeded(head), var editor = FrameEditor(head) else { return nil }
        Self.edit(&editor.performative)
        switch editor.result(limit: limit) {
        case .unchanged: return nil
        case .edited(let bytes): return bytes
        case .tooLarge:
            let text = "the text of an error contains zero bytes, and does not fit into a frame after their replacement"
            throw AMQPError(scope: .connection, condition: .decodeError, detail: text)
        }
    }

    /// Returns whether a frame may need an edit. For most frames the first bytes or the size decide.
    private static func mayBeNeeded(_ head: UnsafeRawBufferPointer) -> Bool {
        guard head.count > 11, FramePrefix(head)?.dataOffset == 2,
            let code = ByteCursor(head, offset: FramePrefix.count).usualDescriptor
        else { return head.count > FramePrefix.count }
        switch code {
        case 0x10, 0x11, 0x13: return false
        case 0x15: return !Self.isPlain(head)
        default: return true
        }
    }

    /// Returns whether a disposition has the state accepted, released or none, as most dispositions do.
    private static func isPlain(_ disposition: UnsafeRawBufferPointer) -> Bool {
        var fields = FieldReader(disposition, offset: 11)
        guard fields.list(), fields.bool() != nil, fields.uint() != nil, fields.uint() != nil, fields.bool() != nil
        else {
            return false
        }
        guard fields.left > 2, fields.offset + 2 < disposition.count else { return true }
        let code = fields.usualDescriptor
        return code == 0x24 || code == 0x26
    }

    /// Returns the first transfer of a message with the format in its tag: see ``MarkedTag``. Returns `nil` if the tag
    /// or the frame has no room for the format, which is then lost.
    ///
    /// - Parameter limit: The largest frame that Proton accepts, in bytes.
    static func mark(_ head: UnsafeRawBufferPointer, format: UInt32, limit: Int) -> [UInt8]? {
        guard var editor = FrameEditor(head), let tag = editor.performative.binary(2), tag.count <= MarkedTag.longest
        else { return nil }
        editor.performative.set(2, toBinary: MarkedTag.bytes(tag, format: format))
        editor.performative.set(3, to: [0x43])
        guard case .edited(let bytes) = editor.result(limit: limit) else { return nil }
        return bytes
    }

    private static func edit(_ performative: inout EncodedComposite) {
        if case .name(let name) = performative.descriptor, let code = Self.performatives[name] {
            performative.describe(as: code)
        }
        switch performative.descriptor {
        case .code(0x12):
            for field in 5...6 { performative.edit(field) { Self.rename(&$0, Self.termini) } }
        case .code(0x14): performative.edit(7, Self.editState)
        case .code(0x15): performative.edit(4, Self.editState)
        case .code(0x16): performative.edit(2, Self.editError)
        case .code(0x17), .code(0x18): performative.edit(0, Self.editError)
        default: break
        }
    }

    private static func rename(_ composite: inout EncodedComposite, _ codes: [String: UInt8]) {
        if case .name(let name) = composite.descriptor, let code = codes[name] { composite.describe(as: code) }
    }

    private static func editState(_ state: inout EncodedComposite) {
        if case .name(let name) = state.descriptor { state.describe(as: Self.states[name] ?? UnknownState.code) }
        switch state.descriptor {
        case .code(0x25): state.edit(0, Self.editError)
        // Field 1 is the outcome in a transaction.
        case .code(0x34): state.edit(1) { Self.rename(&$0, Self.states) }
        default: break
        }
    }

    private static func editError(_ error: inout EncodedComposite) {
        error.replaceZeroBytes(0)
        error.replaceZeroBytes(1)
    }
}
