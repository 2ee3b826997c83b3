internal import NIOCore

/// Hands the peer's bytes to Proton, behind the checks of the header and the frames. It is used on the event loop alone.
final class SocketReader {
    /// The buffers that are read into. Each read is followed by a round of the pump and a write, however few messages it
    /// brought.
    static let buffers = AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2_048, maximum: 131_072)

    @exclusivity(unchecked) private var header = HeaderCheck()
    private let frames: FrameObserver
    /// `nil` if the frames are not logged.
    var trace: FrameTrace?

    init(_ frames: FrameObserver) { self.frames = frames }

    /// Whether the peer has begun with the header of AMQP.
    var hasSeenHeader: Bool { self.header.isPassed }

    /// Returns why the peer's header is none of AMQP, if it is not.
    @inline(__always)
    func checkHeader(_ bytes: ByteBuffer) -> AMQPError? { self.header.isPassed ? nil : self.header.check(bytes) }

    /// Hands bytes of the peer to Proton. Returns what is wrong in them; Proton has then seen all that came before.
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
            // The frames so far are answered before Proton sees the next one.
            handler.processEvents()
            self.frames.beginEndedEarly()
            while !handler.isDead, handler.produce() {}
            guard !handler.isDead else { return nil }
        }
    }
}
