// SPDX-License-Identifier: Apache-2.0

internal import CProton
internal import NIOCore

/// The capabilities of a link inside Proton 0.37, which writes no capabilities. One binary with the encoded
/// capabilities and properties replaces the properties. ``OutgoingEdits`` moves each part into its field of the attach.
enum LinkProperties {
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

    /// Returns the number of bytes of the capabilities and the properties in an attach frame.
    static func size(_ data: OpaquePointer?) -> Int {
        guard let data, pn_data_size(data) > 0 else { return 3 }
        pn_data_rewind(data)
        let isBinary = pn_data_next(data) && pn_data_type(data) == PN_BINARY
        let count = isBinary ? Int(pn_data_get_binary(data).size) : 0
        pn_data_rewind(data)
        return isBinary ? count : 2 + max(1, pn_data_encoded_size(data))
    }
}
