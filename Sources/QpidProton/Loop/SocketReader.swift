// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The path of the peer's bytes to Proton, after the checks of the header and the frames. Used on the event loop only.
final class SocketReader {
    /// The allocator of buffers for reads. Large buffers are worthwhile, because a round of the pump and a write follow
    /// each read.
    static let buffers = AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2_048, maximum: 131_072)

    @exclusivity(unchecked) private var header = HeaderCheck()
    private let frames: FrameObserver
    /// The log of frames; `nil` if frames are not logged.
    var trace: FrameTrace?

    init(_ frames: FrameObserver) { self.frames = frames }

    /// Whether the peer has started with the AMQP header.
    var hasSeenHeader: Bool { self.header.isPassed }

    /// Checks the peer's header. Returns an error if it is not the AMQP header.
    @inline(__always)
    func checkHeader(_ bytes: ByteBuffer) -> AMQPError? { self.header.isPassed ? nil : self.header.check(bytes) }

    /// Hands bytes of the peer to Proton. Returns the error of a wrong frame, after Proton has read all bytes before
    /// it.
    @inline(__always)
    func read(_ bytes: UnsafeRawBufferPointer, for handler: ConnectionHandler) -> AMQPError? {
        self.trace?.received(bytes)
        var rest = bytes
        while true {
            let reading = self.frames.received(rest)
            self.frames.forEachPart(of: UnsafeRawBufferPointer(rebasing: rest[..<reading.count])) {
                _ = handler.engine.read($0)
            }
            guard reading.violation == nil, reading.count < rest.count else { return reading.violation }
            rest = UnsafeRawBufferPointer(rebasing: rest[reading.count...])
            // Proton answers the earlier frames before it reads the next frame.
            handler.processEvents()
            self.frames.beginEndedEarly()
            while !handler.isDead, handler.produce() {}
            guard !handler.isDead else { return nil }
        }
    }
}
