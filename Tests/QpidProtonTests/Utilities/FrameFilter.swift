// SPDX-License-Identifier: Apache-2.0

import NIOCore

@testable import QpidProton

/// Removes from the peer's output the frames that Proton sends on links and sessions that have ended on its side.
///
/// Proton 0.37 renews a session's incoming window when transfers have used it up. It sends a flow of the link whose
/// delivery it handles, even if the link is detached or the session has ended. The handle is then 2³² − 2, and the
/// channel 2¹⁶ − 2. The library's own Proton never finds a window used up: see `IncomingWindow`.
enum FrameFilter {
    private static let firstBadChannel: UInt16 = .max - 1
    private static let firstBadHandle: UInt32 = .max - 1

    /// Returns the frames that may be sent. `bytes` contains complete frames.
    static func clean(_ bytes: ByteBuffer) -> ByteBuffer {
        var rest = bytes
        var clean = ByteBuffer()
        while let size = rest.getInteger(at: rest.readerIndex, as: UInt32.self), size >= 8,
            let channel = rest.getInteger(at: rest.readerIndex + 6, as: UInt16.self),
            let frame = rest.readSlice(length: Int(size))
        {
            if channel < Self.firstBadChannel { clean.writeImmutableBuffer(Self.withoutBadHandle(frame) ?? frame) }
        }
        clean.writeBuffer(&rest)
        return clean
    }

    /// Returns a flow of the session alone in place of a flow of a missing link; `nil` for every other frame.
    private static func withoutBadHandle(_ frame: ByteBuffer) -> ByteBuffer? {
        var body = frame
        guard let head = body.readSlice(length: 8),
            body.getBytes(at: body.readerIndex, length: 3) == [0x00, 0x53, 0x13],
            case .described(let flow)? = try? AMQPValue(decoding: &body), let fields = flow.value.listValue,
            fields.count > 4,
            case .uint(let handle) = fields[4], handle >= Self.firstBadHandle
        else { return nil }
        var encoded = ByteBuffer()
        do {
            try AMQPValue.described(0x13, .list(Array(fields.prefix(4)))).encode(into: &encoded)
        } catch {
            return nil
        }
        var clean = head
        clean.setInteger(UInt32(8 + encoded.readableBytes), at: clean.readerIndex)
        clean.writeBuffer(&encoded)
        return clean
    }
}
