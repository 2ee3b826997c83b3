// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Returns the bytes of hexadecimal digits, ignoring spaces.
func bytes(_ hex: String) -> ByteBuffer {
    let digits = hex.compactMap(\.hexDigitValue)
    precondition(digits.count.isMultiple(of: 2), "an odd number of digits")
    return ByteBuffer(bytes: stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) })
}

func hex(_ buffer: ByteBuffer) -> String {
    buffer.readableBytesView.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

func encoded(_ value: AMQPValue) throws -> ByteBuffer {
    var buffer = ByteBuffer()
    try value.encode(into: &buffer)
    return buffer
}

/// Decodes one value, which must use all the bytes.
func decoded(_ buffer: ByteBuffer, limits: AMQPDecodingLimits = .default) throws -> AMQPValue {
    var rest = buffer
    let value = try AMQPValue(decoding: &rest, limits: limits)
    #expect(rest.readableBytes == 0, "bytes left over after \(hex(buffer))")
    return value
}

/// Returns the error of decoding a value; `nil` if decoding succeeds.
func decodingError(_ hex: String, limits: AMQPDecodingLimits = .default) -> AMQPError? {
    var buffer = bytes(hex)
    let length = buffer.readableBytes
    do throws(AMQPError) {
        _ = try AMQPValue(decoding: &buffer, limits: limits)
        return nil
    } catch {
        #expect(buffer.readableBytes == length, "the reader index moved although decoding failed")
        return error
    }
}

/// Returns the error of decoding a message; `nil` if decoding succeeds.
func messageError(_ hex: String, limits: AMQPDecodingLimits = .default) -> AMQPError? {
    do throws(AMQPError) {
        _ = try AMQPMessage(decoding: bytes(hex), limits: limits)
        return nil
    } catch {
        return error
    }
}

let sampleUUID = UUID(
    uuid: (0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff)
)

/// Returns a message with every section and every field.
func fullMessage() throws -> AMQPMessage {
    var message = AMQPMessage(body: ByteBuffer(string: "raw"))
    message.header = AMQPHeader(
        durable: true,
        priority: 7,
        timeToLive: .seconds(30),
        firstAcquirer: true,
        deliveryCount: 3
    )
    message.deliveryAnnotations[symbol: "di"] = 1
    message.messageAnnotations[symbol: "ma"] = "v"
    message.properties.messageID = "id-1"
    message.properties.userID = ByteBuffer(string: "user")
    message.properties.to = "to-a"
    message.properties.subject = "sub"
    message.properties.replyTo = "rep"
    message.properties.correlationID = .uuid(sampleUUID)
    message.properties.contentType = "text/plain"
    message.properties.contentEncoding = "gzip"
    message.properties.absoluteExpiryTime = AMQPTimestamp(millisecondsSinceEpoch: 2000)
    message.properties.creationTime = AMQPTimestamp(millisecondsSinceEpoch: 1000)
    message.properties.groupID = "g"
    message.properties.groupSequence = 9
    message.properties.replyToGroupID = "rg"
    message.applicationProperties["p"] = 1
    message.applicationProperties["q"] = "two"
    message.applicationProperties["r"] = .null
    message.footer[symbol: "crc"] = .array(try AMQPArray([.uint(1), .uint(0x1_0000)]))
    return message
}
