// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A close frame that the library writes without Proton. Source: AMQP 1.0 §2.7.9.
enum CloseFrame {
    /// Writes the frame, on channel 0.
    static func write(_ error: AMQPError, into buffer: inout ByteBuffer) throws(AMQPError) {
        let condition = AMQPValue.symbol(AMQPSymbol(CheckedText.sendable(error.condition).rawValue))
        let reason = AMQPValue.described(0x1D, .list([condition, .string(CheckedText.sendable(error.detail))]))
        let start = buffer.writerIndex
        buffer.writeInteger(UInt32(0))
        buffer.writeBytes([2, 0, 0, 0])
        try AMQPValue.described(0x18, .list([reason])).encode(into: &buffer)
        buffer.setInteger(UInt32(buffer.writerIndex - start), at: start)
    }
}
