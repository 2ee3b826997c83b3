// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The memory of settled messages of all clients, for their next messages. One thread encodes a message and another one
/// settles it: to free and allocate memory across threads costs more than to encode.
final class SpareBuffers: Sendable {
    static let shared = SpareBuffers()
    /// The largest kept buffer in bytes, and the most buffers: together at most 1 MiB.
    static let largest = 1_024
    static let most = 1_024

    private let buffers = Mutex<[ByteBuffer]>([])

    /// The number of kept buffers.
    var count: Int { self.buffers.withLock { $0.count } }

    /// Returns an empty buffer.
    func take() -> ByteBuffer {
        guard var buffer = self.buffers.withLock({ $0.popLast() }) else { return ByteBuffer() }
        buffer.clear()
        return buffer
    }

    /// Keeps buffers that nothing else uses, as many as fit.
    func giveBack(_ spares: [ByteBuffer]) {
        self.buffers.withLock { buffers in
            for buffer in spares {
                guard buffers.count < Self.most else { break }
                if buffer.storageCapacity <= Self.largest { buffers.append(buffer) }
            }
        }
    }
}
