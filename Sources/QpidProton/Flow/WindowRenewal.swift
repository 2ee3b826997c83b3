internal import NIOCore

/// How the incoming window of a session is renewed before it is used up. Source: AMQP 1.0 §2.5.6.
struct WindowRenewal {
    /// The transfers after which the peer is told the window anew.
    let quarter: Int
    private let capacity: Int
    private let frameSize: Int
    let outgoingWindow: UInt32
    private let heldBytes: () -> Int

    /// - Parameters:
    ///   - capacity: The bytes that may be held.
    ///   - frameSize: What a transfer counts for, however small it is.
    ///   - heldBytes: The bytes that are held now.
    init(capacity: Int, frameSize: Int, outgoingWindow: UInt32, heldBytes: @escaping () -> Int) {
        self.quarter = max(1, capacity / frameSize / 4)
        self.capacity = capacity
        self.frameSize = frameSize
        self.outgoingWindow = outgoingWindow
        self.heldBytes = heldBytes
    }

    /// The window now, in transfers.
    var incomingWindow: UInt32 { UInt32(clamping: (self.capacity - self.heldBytes()) / self.frameSize) }

    /// A flow of the session alone.
    func frame(channel: UInt16, nextIncomingID: UInt32, nextOutgoingID: UInt32) -> ByteBuffer {
        FlowFrame(
            nextIncomingID: nextIncomingID,
            incomingWindow: self.incomingWindow,
            nextOutgoingID: nextOutgoingID,
            outgoingWindow: self.outgoingWindow
        ).encoded(channel: channel)
    }
}
