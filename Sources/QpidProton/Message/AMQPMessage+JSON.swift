import NIOCore

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

extension AMQPMessage {
    /// Makes a message of a value as JSON: one data section, with the content type `application/json`.
    ///
    /// - Throws: `local:invalid-argument` where the value cannot be encoded.
    public init(json value: some Encodable, encoder: JSONEncoder = JSONEncoder()) throws(AMQPError) {
        let data: Data
        do {
            data = try encoder.encode(value)
        } catch {
            throw AMQPError(.local, .invalidArgument, "the body cannot be encoded as JSON: \(error)")
        }
        self.init()
        self.storedBody = .data(ByteBuffer(bytes: data))
        self.properties.contentType = "application/json"
    }

    /// Decodes the body as JSON: data, a binary value or a string value, whatever the content type says.
    ///
    /// - Throws: `amqp:decode-error` where the body is none of these or is not JSON of the type.
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
            throw AMQPError(.delivery, .decodeError, "the body is neither data nor a string")
        }
        do {
            return try decoder.decode(type, from: data)
        } catch {
            throw AMQPError(.delivery, .decodeError, "the body is not JSON of the type \(type): \(error)")
        }
    }
}
