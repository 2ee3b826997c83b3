// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension AMQPValue: CustomStringConvertible {
    /// A readable text, which cannot be parsed. Binary values show at most 32 bytes.
    public var description: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .ubyte(let value): "\(value)"
        case .ushort(let value): "\(value)"
        case .uint(let value): "\(value)"
        case .ulong(let value): "\(value)"
        case .byte(let value): "\(value)"
        case .short(let value): "\(value)"
        case .int(let value): "\(value)"
        case .long(let value): "\(value)"
        case .float(let value): "\(value)"
        case .double(let value): "\(value)"
        case .decimal32(let value): "\(value)"
        case .decimal64(let value): "\(value)"
        case .decimal128(let value): "\(value)"
        case .char(let value): "'\(value)'"
        case .timestamp(let value): "\(value)"
        case .uuid(let value): "\(value)"
        case .binary(let value): value.shortHex
        case .string(let value): "\"\(value)\""
        case .symbol(let value): ":\(value)"
        case .list(let value): "[\(value.map(\.description).joined(separator: ", "))]"
        case .map(let value): "\(value)"
        case .array(let value): "\(value)"
        case .described(let value): "\(value)"
        }
    }
}

extension ByteBuffer {
    /// The first 32 bytes in hexadecimal, and the number of bytes if there are more.
    var shortHex: String {
        let digits = self.readableBytesView.prefix(32).map { byte in
            byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
        }
        let rest = self.readableBytes > 32 ? "… (\(self.readableBytes) bytes)" : ""
        return "0x\(digits.joined())\(rest)"
    }
}
