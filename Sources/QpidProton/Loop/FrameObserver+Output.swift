// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// The edits of the frames that Proton has written.

extension FrameObserver {
    /// Reads Proton's output, and sets the windows in it, and the highest handle in a begin.
    func sent(_ buffer: inout ByteBuffer?) {
        buffer?.withUnsafeMutableReadableBytes { self.look(at: $0) }
        guard self.output.hasChanges, let bytes = buffer else { return }
        var edited = ByteBufferAllocator().buffer(capacity: bytes.readableBytes + 64)
        bytes.withUnsafeReadableBytes { self.output.forEachPart(of: $0) { edited.writeBytes($0) } }
        buffer = edited
    }

    private func look(at bytes: UnsafeMutableRawBufferPointer) {
        // Most frames are transfers, in runs on one channel.
        var run = (channel: UInt16.max, transfers: 0)
        self.output.consume(UnsafeRawBufferPointer(bytes)) { head in
            if let channel = FrameHeader.channelOfTransfer(head) {
                if channel != run.channel {
                    self.sent(run.transfers, on: run.channel)
                    run = (channel, 0)
                }
                run.transfers += 1
                if self.sendsFormats { return OutgoingEdits.transfer(head) }
            } else if let frame = FrameHeader(head) {
                self.sent(run.transfers, on: run.channel)
                run.transfers = 0
                let window = self.sent(frame)
                if case .attach = frame, let edited = OutgoingEdits.attach(head) {
                    self.check(frame, ofSize: edited.count)
                    return edited
                }
                self.check(frame, ofSize: FrameHeader.size(head))
                if let window { return OutgoingEdits.window(window, in: head, of: bytes, limit: self.peerMaxFrameSize) }
            }
            return nil
        }
        self.sent(run.transfers, on: run.channel)
    }
}
