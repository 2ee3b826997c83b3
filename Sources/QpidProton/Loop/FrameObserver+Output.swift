internal import NIOCore

// What this side sends, behind Proton.

extension FrameObserver {
    /// The highest handle that Proton keeps apart from those that are not attached.
    private static let handleMax = UInt32(Int32.max)

    /// Looks at what Proton has made, and writes what the peers are to be told into it: the windows, and with a begin the
    /// highest handle.
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
                if let window { return self.edit(head, of: bytes, window) }
            }
            return nil
        }
        self.sent(run.transfers, on: run.channel)
    }

    /// Tells the window in a begin or a flow, where it lies if it can be told there.
    private func edit(
        _ head: UnsafeRawBufferPointer,
        of bytes: UnsafeMutableRawBufferPointer,
        _ window: UInt32
    ) -> [UInt8]? {
        let isBegin = head.count > 10 && head[10] == 0x11
        if !isBegin, let start = bytes.baseAddress, let place = head.baseAddress {
            // A head that came in pieces lies elsewhere.
            let offset = place - UnsafeRawPointer(start)
            if offset >= 0, offset + head.count <= bytes.count {
                let frame = UnsafeMutableRawBufferPointer(rebasing: bytes[offset..<offset + head.count])
                if FrameEditor.store(incomingWindow: window, in: frame) { return nil }
            }
        }
        guard var editor = FrameEditor(head), let field = editor.incomingWindowField else { return nil }
        editor.performative.set(field, to: window)
        let told = editor
        if isBegin { editor.performative.set(4, to: Self.handleMax) }
        // A begin that has no room for the handle tells the window alone.
        for editor in [editor, told] {
            if case .edited(let bytes) = editor.result(limit: self.peerMaxFrameSize) { return bytes }
        }
        return nil
    }
}
