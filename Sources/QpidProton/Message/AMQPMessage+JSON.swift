// SPDX-License-Identifier: Apache-2.0

import NIOCore

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

extension AMQPMessage {
    /// Creates a message with a value as JSON: one data section with the content type `application/json`.
    ///
    /// - Throws: `local:invalid-argument` if the value cannot be encoded.
    public init(json value: some Encodable, encoder: JSONEncoder = JSONEncoder()) throws(AMQPError) {
        let data: Data
        do {
            data = try encoder.encode(value)
        } catch {
            throw AMQPError(
                condition: .invalidArgument,
                detail: "the body cannot be encoded as JSON: \(JSONFault.cause(error))"
            )
        }
        self.init()
        self.storedBody = .data(ByteBuffer(bytes: data))
        self.properties.contentType = "application/json"
    }

    /// Decodes a body of data, a binary value or a string value as JSON. The content type has no effect.
    ///
    /// - Throws: `amqp:decode-error` if the body has another form, or is not JSON of the requested type.
    public func decodeJSON<T: Decodable>(
        _ type: T.Type = T.self,
        decoder: JSONDecoder = JSONDecoder()
    ) throws(AMQPError) -> T {
        let data: Data
        if let bytes = self.bodyBytes {
            data = Data(bytes.readableBytesView)
        } else if let text = self.bodyString {
            data = Data(text.utf8)
        } else {
            throw AMQPError(scope: .delivery, condition: .decodeError, detail: "the body is neither data nor a string")
        }
        do {
            return try decoder.decode(type, from: data)
        } catch {
            throw AMQPError(
                scope: .delivery,
                condition: .decodeError,
                detail: "the body is not JSON of the type \(type): \(JSONFault.cause(error))"
            )
        }
    }
}

/// The texts for errors of a JSON encoder or decoder, with the path of the value. Errors of the application's types
/// keep their text.
private enum JSONFault {
    static func cause(_ error: any Error) -> String {
        switch error {
        case EncodingError.invalidValue(_, let context):
            "JSON has no form for the value\(self.place(context.codingPath))"
        case DecodingError.keyNotFound(let key, let context):
            "the key '\(key.stringValue)' is missing\(self.place(context.codingPath))"
        case DecodingError.valueNotFound(_, let context): "the value\(self.place(context.codingPath)) is null"
        case DecodingError.typeMismatch(let type, let context):
            "the value\(self.place(context.codingPath)) is not of the type \(type)"
        case DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty: "the bytes are not valid JSON"
        case DecodingError.dataCorrupted(let context):
            "the value\(self.place(context.codingPath)) cannot be used: \(context.debugDescription)"
        default: "\(error)"
        }
    }

    /// Returns the place of a value, such as " at 'lines.0.price'"; empty for the whole body.
    private static func place(_ path: [any CodingKey]) -> String {
        let steps = path.map { $0.intValue.map(String.init) ?? $0.stringValue }
        return steps.isEmpty ? "" : " at '\(steps.joined(separator: "."))'"
    }
}
