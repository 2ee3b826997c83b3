internal import CProton
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

    /// An attach with the capabilities that ``LinkProperties`` carry; nil for one that has none.
    static func attach(_ frame: UnsafeRawBufferPointer) -> [UInt8]? {
        guard var editor = FrameEditor(frame), editor.performative.isBinary(LinkProperties.field),
            let content = editor.performative.binary(LinkProperties.field),
            let fields = content.withUnsafeBytes({ LinkProperties.split($0) })
        else { return nil }
        for (index, field) in zip(LinkProperties.fields, fields) {
            editor.performative.set(
                index,
                to: Array(content[(content.startIndex + field.lowerBound)..<(content.startIndex + field.upperBound)])
            )
        }
        guard case .edited(let bytes) = editor.result(limit: .max) else { return nil }
        return bytes
    }
}

/// The capabilities of a link on their way through Proton 0.37, which writes none: in the place of the properties, as one
/// binary that holds the encoded capabilities and properties. ``OutgoingEdits`` puts each into its field of the attach.
enum LinkProperties {
    /// The offered-capabilities, the desired-capabilities and the properties among the fields of an attach.
    static let fields = 11...13
    /// The properties among them.
    static let field = 13

    static func set(
        _ link: OpaquePointer,
        _ properties: AMQPMap,
        _ capabilities: LinkCapabilities
    ) throws(AMQPError) {
        let data = pn_link_properties(link)
        guard !capabilities.isEmpty else { return try ProtonData.set(data, map: properties) }
        let symbols = [capabilities.offered, capabilities.desired].map { symbols -> AMQPValue in
            symbols.isEmpty ? .null : .array(AMQPArray(symbols: symbols))
        }
        var bytes = ByteBuffer()
        for value in symbols + [properties.isEmpty ? .null : .map(properties)] { try value.encode(into: &bytes) }
        pn_data_clear(data)
        bytes.withUnsafeReadableBytes { bytes in
            _ = pn_data_put_binary(data, pn_bytes(bytes.count, bytes.bindMemory(to: CChar.self).baseAddress))
        }
    }

    /// Where each of the fields lies in the binary.
    fileprivate static func split(_ bytes: UnsafeRawBufferPointer) -> [Range<Int>]? {
        var reader = FieldReader(bytes, offset: 0)
        var ranges: [Range<Int>] = []
        for _ in Self.fields {
            guard let range = reader.nextValue() else { return nil }
            ranges.append(range)
        }
        return reader.offset == bytes.count ? ranges : nil
    }

    /// What the capabilities and the properties take of an attach frame, in bytes.
    static func size(_ data: OpaquePointer?) -> Int {
        guard let data, pn_data_size(data) > 0 else { return 3 }
        pn_data_rewind(data)
        let isBinary = pn_data_next(data) && pn_data_type(data) == PN_BINARY
        let count = isBinary ? Int(pn_data_get_binary(data).size) : 0
        pn_data_rewind(data)
        return isBinary ? count : 2 + max(1, pn_data_encoded_size(data))
    }
}

/// The capabilities of one side of a link. Source: AMQP 1.0 §2.7.3.
struct LinkCapabilities: Sendable, Equatable {
    var offered: [AMQPSymbol] = []
    var desired: [AMQPSymbol] = []

    var isEmpty: Bool { self.offered.isEmpty && self.desired.isEmpty }
}
