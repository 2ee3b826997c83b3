// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The checks of this side's texts before they become C strings, which end at the first zero byte.
///
/// The checks refuse an unusable text of the caller. They change a text that must reach the peer, such as the reason of
/// a close.
enum CheckedText {
    /// Throws for a text that contains a zero byte, because Proton would send only the bytes before it.
    ///
    /// - Parameters:
    ///   - text: The text; `nil` passes.
    ///   - field: Names the text in the error.
    static func check(_ text: String?, _ field: @autoclosure () -> String) throws(AMQPError) {
        guard let text, text.utf8.contains(0) else { return }
        throw AMQPError(condition: .invalidArgument, detail: "\(field()) contains a zero byte: remove it")
    }

    /// Throws for a symbol that is not ASCII (AMQP 1.0 §1.6.21), or that contains a zero byte, where many peers would
    /// cut the symbol.
    static func check(_ symbol: AMQPSymbol, _ field: @autoclosure () -> String) throws(AMQPError) {
        guard let byte = symbol.rawValue.utf8.first(where: { $0 == 0 || $0 >= 0x80 }) else { return }
        let shown = symbol.rawValue.debugDescription
        let cause = byte == 0 ? "contains a zero byte" : "is not ASCII, as a symbol must be"
        throw AMQPError(condition: .invalidArgument, detail: "\(field()) \(shown) \(cause): remove the character")
    }

    /// Checks each symbol of a list.
    static func check(_ symbols: [AMQPSymbol], _ field: @autoclosure () -> String) throws(AMQPError) {
        for symbol in symbols { try self.check(symbol, field()) }
    }

    /// Checks the symbols that are keys of a map, and that the map can be encoded.
    static func check(_ map: AMQPMap, _ field: @autoclosure () -> String) throws(AMQPError) {
        guard !map.isEmpty else { return }
        for (key, _) in map {
            if let symbol = key.symbolValue { try self.check(symbol, "\(field()): the key") }
        }
        var buffer = ByteBuffer()
        do {
            try AMQPValue.map(map).encode(into: &buffer)
        } catch {
            throw AMQPError(condition: error.condition, detail: "\(field()): a value \(error.detail)")
        }
    }

    /// Returns a text for a peer, with U+FFFD in place of each U+0000.
    static func sendable(_ text: String) -> String {
        guard text.utf8.contains(0) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 }))
    }

    /// Returns the condition of an error for a peer: an ASCII symbol that is not empty (AMQP 1.0 §2.8.14).
    ///
    /// A condition that only this library defines (`local:…`) and an empty one become `amqp:internal-error`. A question
    /// mark replaces a character that a symbol cannot contain.
    static func sendable(_ condition: AMQPCondition) -> AMQPCondition {
        let name = condition.rawValue
        if name.isEmpty || name.utf8.starts(with: "local:".utf8) { return .internalError }
        guard name.utf8.contains(where: { $0 == 0 || $0 >= 0x80 }) else { return condition }
        let scalars = name.unicodeScalars.map { scalar -> Unicode.Scalar in
            scalar.isASCII && scalar != "\0" ? scalar : "?"
        }
        return AMQPCondition(rawValue: String(String.UnicodeScalarView(scalars)))
    }
}
