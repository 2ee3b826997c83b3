// SPDX-License-Identifier: Apache-2.0

import NIOCore

@testable import QpidProton

/// Decodes the input as a message. A decoded message must encode again, and decode to the same message.
enum FuzzMessage {
    private static let strict = AMQPDecodingLimits(maximumDepth: 3, maximumElements: 16)

    static func run(_ bytes: UnsafeRawBufferPointer) throws {
        let buffer = FuzzTarget.buffer(bytes)
        let message = try Self.decode(buffer, .default)
        let strict = try Self.decode(buffer, Self.strict)
        if let strict { try FuzzTarget.require(strict == message, "strict limits decode another message") }
        guard let message else { return }
        let encoded = try message.encoded()
        try FuzzTarget.require(
            encoded.readableBytes <= message.encodedSizeHint,
            "encoded it has \(encoded.readableBytes) bytes, and \(message.encodedSizeHint) were announced"
        )
        let again = try AMQPMessage(decoding: FuzzTarget.buffer(encoded.readableBytesView))
        try FuzzTarget.require(again == message, "the message encodes and decodes to another message")
        try FuzzTarget.require(again.hashValue == message.hashValue, "equal messages have different hashes")
        try FuzzTarget.require(try again.encoded() == encoded, "the second encoding has other bytes")
        _ = (message.description, message.bodyString, message.bodyBytes)
    }

    /// Returns `nil` for bytes that are not a message. No other error is allowed.
    private static func decode(_ buffer: ByteBuffer, _ limits: AMQPDecodingLimits) throws -> AMQPMessage? {
        do throws(AMQPError) {
            return try AMQPMessage(decoding: buffer, limits: limits)
        } catch {
            try FuzzTarget.require(error.condition == .decodeError, "\(error)")
            return nil
        }
    }
}
