// Message-formats, which Proton 0.37 does not keep: see ``MarkedTag``.

extension FrameObserver {
    /// A frame that is edited may outgrow the largest one that the peer may send by this many bytes: see ``MarkedTag``.
    private static let slack = 64
    /// The largest frame that Proton has to accept once this side's open is sent.
    var protonFrameSize: Int { Int(self.maxFrameSize) + Self.slack }

    /// Whether a transfer begins a message.
    func isFirst(_ transfer: FrameHeader.Transfer, on channel: UInt16) -> Bool {
        self.byPeerChannel[channel]?.links.isInMessage(transfer.handle) == false
    }

    /// Has Proton keep the format of the message that a transfer begins.
    func mark(
        _ edited: [UInt8]?,
        _ head: UnsafeRawBufferPointer,
        _ transfer: FrameHeader.Transfer
    ) -> [UInt8]? {
        // Proton accepts no larger frames before, and no transfers.
        guard self.isOpenSent else { return edited }
        self.receivesFormats = true
        func mark(_ head: UnsafeRawBufferPointer) -> [UInt8]? {
            IncomingEdits.mark(head, format: transfer.messageFormat, limit: self.protonFrameSize)
        }
        return (edited.map { $0.withUnsafeBytes(mark) } ?? mark(head)) ?? edited
    }
}
