// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The buffers of settled messages of all clients, for reuse by later messages.
///
/// One thread encodes a message, and another thread settles it. Memory that one thread allocates and another frees
/// costs more than the encoding.
final class SpareBuffers: Sendable {
    static let shared = SpareBuffers()
    /// The largest capacity of a kept buffer, in bytes.
    static let largest = 1_024
    /// The most kept buffers, together at most 1 MiB.
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

    /// Keeps buffers for reuse, as many as fit.
    func giveBack(_ spares: [ByteBuffer]) {
        self.buffers.withLock { buffers in
            for buffer in spares {
                guard buffers.count < Self.most else { break }
                if buffer.storageCapacity <= Self.largest { buffers.append(buffer) }
            }
        }
    }
}
