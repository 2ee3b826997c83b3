// SPDX-License-Identifier: Apache-2.0

internal import CProton
internal import NIOCore

/// The translation of values between Swift and a `pn_data_t` through their encoded bytes, so that one codec handles all
/// types.
enum ProtonData {
    /// Puts one value into `data`, in place of its contents.
    static func set(_ data: OpaquePointer?, _ value: AMQPValue) throws(AMQPError) {
        guard let data else { return }
        pn_data_clear(data)
        var buffer = ByteBuffer()
        try value.encode(into: &buffer)
        let result = buffer.withUnsafeReadableBytes { bytes in
            pn_data_decode(data, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count)
        }
        guard result == buffer.readableBytes else {
            throw AMQPError(condition: .invalidArgument, detail: "Proton cannot encode the value \(value)")
        }
    }

    /// Returns the values in `data`. Omits received values that this library cannot decode.
    static func get(_ data: OpaquePointer?) -> [AMQPValue] {
        guard let data, pn_data_size(data) > 0 else { return [] }
        pn_data_rewind(data)
        let size = pn_data_encoded_size(data)
        guard size > 0 else { return [] }
        var buffer = ByteBuffer()
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { bytes in
            max(0, pn_data_encode(data, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count))
        }
        var values: [AMQPValue] = []
        while buffer.readableBytes > 0, let value = try? AMQPValue(decoding: &buffer) { values.append(value) }
        return values
    }

    static func set(_ data: OpaquePointer?, map: AMQPMap) throws(AMQPError) {
        if !map.isEmpty { try Self.set(data, .map(map)) }
    }

    static func map(_ data: OpaquePointer?) -> AMQPMap {
        Self.get(data).first?.mapValue ?? [:]
    }

    static func set(_ data: OpaquePointer?, symbols: [AMQPSymbol]) throws(AMQPError) {
        guard !symbols.isEmpty else { return }
        try Self.set(data, .array(try AMQPArray(symbols.map { .symbol($0) })))
    }

    /// Returns symbols, which peers send as one symbol or as an array.
    static func symbols(_ data: OpaquePointer?) -> [AMQPSymbol] {
        Self.get(data).flatMap { value -> [AMQPSymbol] in
            if let symbol = value.symbolValue { return [symbol] }
            return (value.arrayValue.map { Array($0) } ?? value.listValue ?? []).compactMap(\.symbolValue)
        }
    }
}

/// The translation of errors between Swift and a `pn_condition_t`.
enum ProtonCondition {
    static func set(_ condition: OpaquePointer?, _ error: AMQPError) {
        guard let condition else { return }
        pn_condition_set_name(condition, CheckedText.sendable(error.condition).rawValue)
        if !error.detail.isEmpty { pn_condition_set_description(condition, CheckedText.sendable(error.detail)) }
        // An info map that cannot be encoded must not withhold the condition from the peer.
        try? ProtonData.set(pn_condition_info(condition), map: error.info)
    }

    static func get(
        _ condition: OpaquePointer?,
        _ scope: AMQPError.Scope,
        _ ending: AMQPError.Ending? = nil,
        origin: AMQPError.Origin = .peer
    ) -> AMQPError? {
        guard let condition, pn_condition_is_set(condition) else { return nil }
        return AMQPError(
            scope: scope,
            condition: AMQPCondition(rawValue: pn_condition_get_name(condition).map { String(cString: $0) } ?? ""),
            detail: pn_condition_get_description(condition).map { String(cString: $0) } ?? "",
            info: ProtonData.map(pn_condition_info(condition)),
            origin: origin,
            ending: ending
        )
    }
}
