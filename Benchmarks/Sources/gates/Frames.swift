// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The frames of ``ScriptedPeer``: one session on channel 0. Source: AMQP 1.0 §2.7.
enum Frames {
    static let header: [UInt8] = [0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0]
    static let attach: UInt8 = 0x12
    static let flow: UInt8 = 0x13
    static let transfer: UInt8 = 0x14
    static let disposition: UInt8 = 0x15
    static let detach: UInt8 = 0x16
    private static let open: UInt8 = 0x10
    private static let begin: UInt8 = 0x11
    private static let close: UInt8 = 0x18
    private static let window: UInt32 = 0x7fff_ffff

    // MARK: Once for a connection

    /// Answers an open, a begin or a close.
    static func answer(_ code: UInt8, _ out: inout ByteBuffer) throws {
        switch code {
        case Self.open: try Self.write(code, [.string("peer")], &out)
        case Self.begin: try Self.write(code, [.ushort(0), .uint(0), .uint(Self.window), .uint(Self.window)], &out)
        case Self.close: try Self.write(code, [], &out)
        default: throw Failure("the peer has no answer to a frame of code \(code)")
        }
    }

    /// Answers an attach with the same name, handle, modes and termini. Returns the handle, and whether the library
    /// sends.
    static func answerAttach(_ frame: ByteBuffer, _ out: inout ByteBuffer) throws -> (handle: UInt32, isSender: Bool) {
        var body = frame
        body.moveReaderIndex(forwardBy: 8)
        guard let fields = try AMQPValue(decoding: &body).describedValue?.value.listValue, fields.count > 6,
            let isReceiver = fields[2].boolValue, case .uint(let handle) = fields[1]
        else { throw Failure("an attach lacks its termini") }
        let echoed = [.uint(handle), .bool(!isReceiver)] + fields[3...6]
        try Self.write(Self.attach, [fields[0]] + echoed + [.null, .null, isReceiver ? .uint(0) : .null], &out)
        return (handle, !isReceiver)
    }

    private static func write(_ code: UInt8, _ fields: [AMQPValue], _ out: inout ByteBuffer) throws {
        var body = ByteBuffer()
        try AMQPValue.described(UInt64(code), .list(fields)).encode(into: &body)
        Self.writeHead(of: body.readableBytes, &out)
        out.writeBuffer(&body)
    }

    fileprivate static func writeHead(of size: Int, _ out: inout ByteBuffer) {
        // The size, the offset of the body in words of 4 bytes, the type, and the channel.
        out.writeInteger(UInt64(8 + size) << 32 | 0x0200_0000)
    }

    // MARK: While messages move

    /// Writes the head of a frame, the code, and the head of a short list with a number of bytes and fields.
    fileprivate static func writeList(
        _ code: UInt8,
        size: Int,
        count: UInt8,
        before payload: Int = 0,
        _ out: inout ByteBuffer
    ) {
        Self.writeHead(of: 6 + size + payload, &out)
        out.writeInteger(UInt16(0x0053))
        out.writeInteger(code)
        out.writeInteger(UInt8(0xc0))
        out.writeInteger(UInt8(1 + size))
        out.writeInteger(count)
    }

    fileprivate static func write(_ number: UInt32, _ out: inout ByteBuffer) {
        out.writeInteger(UInt8(0x70))
        out.writeInteger(number)
    }

    /// Writes a flow of a link with credit, after `received` messages on it.
    static func writeFlow(_ handle: UInt32 = 0, received: UInt32, credit: UInt32, _ out: inout ByteBuffer) {
        Self.writeList(Self.flow, size: 35, count: 7, &out)
        // The session: ids and windows of both directions.
        Self.write(received, &out)
        Self.write(Self.window, &out)
        Self.write(0, &out)
        Self.write(Self.window, &out)
        // The link: its handle, the delivery-count, and the credit.
        Self.write(handle, &out)
        Self.write(received, &out)
        Self.write(credit, &out)
    }

    /// Writes a disposition: settled and accepted.
    static func writeAccepted(_ first: UInt32, _ last: UInt32, _ out: inout ByteBuffer) {
        Self.writeList(Self.disposition, size: 16, count: 5, &out)
        out.writeInteger(UInt8(0x41))
        Self.write(first, &out)
        Self.write(last, &out)
        // `settled` is true, and the state is a described empty list.
        out.writeInteger(UInt8(0x41))
        out.writeInteger(UInt32(0x0053_2445))
    }

    /// Returns the number of messages that a disposition of the library settles.
    static func settledCount(_ frame: ByteBuffer) throws -> UInt32 {
        var body = frame
        // The list is long or short, and its first field is the role.
        let isLong = body.getInteger(at: body.readerIndex + 11, as: UInt8.self) == 0xd0
        body.moveReaderIndex(forwardBy: isLong ? 20 : 14)
        guard body.readInteger(as: UInt8.self) == 0x41, let first = Self.readNumber(&body) else {
            throw Failure("a disposition is not a receiver's")
        }
        return (Self.readNumber(&body) ?? first) - first + 1
    }

    /// Returns whether a transfer of the library is the last of its message.
    static func isLast(_ frame: ByteBuffer) throws -> Bool {
        var body = frame
        let isLong = body.getInteger(at: body.readerIndex + 11, as: UInt8.self) == 0xd0
        body.moveReaderIndex(forwardBy: isLong ? 16 : 13)
        let count = isLong ? body.readInteger(as: UInt32.self) : body.readInteger(as: UInt8.self).map { UInt32($0) }
        guard let count else { throw Failure("a transfer has no fields") }
        // `more` is the sixth field, after the handle, the id, the tag, the format and `settled`.
        guard count > 5 else { return true }
        for _ in 0..<5 {
            guard let code = body.readInteger(as: UInt8.self) else { throw Failure("a transfer is too short") }
            let size =
                code == 0xa0 ? Int(body.readInteger(as: UInt8.self) ?? 0) : code == 0x52 ? 1 : code == 0x70 ? 4 : 0
            body.moveReaderIndex(forwardBy: size)
        }
        return body.readInteger(as: UInt8.self) != 0x41
    }

    /// Reads a number; `nil` for a null.
    private static func readNumber(_ body: inout ByteBuffer) -> UInt32? {
        switch body.readInteger(as: UInt8.self) {
        case 0x43: 0
        case 0x52: body.readInteger(as: UInt8.self).map { UInt32($0) }
        case 0x70: body.readInteger()
        default: nil
        }
    }
}

/// Consecutive transfers, of one message each or all of one message. They are encoded once, and numbered again for each
/// use.
struct TransferBurst {
    private(set) var bytes = ByteBuffer()
    private let count: UInt32
    private let isStream: Bool
    private let stride: Int

    /// - Parameters:
    ///   - message: The encoded message of each transfer, or a data section of the one message.
    ///   - count: The number of transfers.
    ///   - links: The number of links, used in turn.
    ///   - isStream: Whether the transfers are one message.
    init(_ message: ByteBuffer, count: UInt32, links: UInt32, isStream: Bool) {
        self.count = count
        self.isStream = isStream
        // The fields: the handle, the id, a tag of 8 bytes, the format, `settled`, and for a stream `more`.
        let size = isStream ? 20 : 19
        self.stride = 14 + size + message.readableBytes
        for index in 0..<count {
            Frames.writeList(
                Frames.transfer,
                size: size,
                count: isStream ? 6 : 5,
                before: message.readableBytes,
                &self.bytes
            )
            self.bytes.writeInteger(UInt8(0x52))
            self.bytes.writeInteger(UInt8(index % links))
            Frames.write(0, &self.bytes)
            self.bytes.writeInteger(UInt16(0xa008))
            self.bytes.writeInteger(UInt64(0))
            self.bytes.writeInteger(UInt16(0x4342))
            if isStream { self.bytes.writeInteger(UInt8(index < count - 1 ? 0x41 : 0x42)) }
            self.bytes.writeImmutableBuffer(message)
        }
    }

    /// Sets the delivery-ids, and the tags to the same numbers, after `sent` earlier transfers.
    mutating func number(after sent: UInt32) {
        for index in 0..<self.count {
            let start = Int(index) * self.stride + 16
            let number = self.isStream ? sent / self.count : sent + index
            self.bytes.setInteger(number, at: start + 1)
            self.bytes.setInteger(UInt64(number), at: start + 7)
        }
    }
}
