// SPDX-License-Identifier: Apache-2.0

// Message-formats, which Proton 0.37 does not store: see ``MarkedTag``.

extension FrameObserver {
    /// The most bytes by which an edited frame may exceed the largest frame of the peer: see ``MarkedTag``.
    private static let slack = 64
    /// The largest frame that Proton must accept once this side's open is sent.
    var protonFrameSize: Int { Int(self.maxFrameSize) + Self.slack }

    /// Returns whether a transfer starts a message.
    func isFirst(_ transfer: FrameHeader.Transfer, on channel: UInt16) -> Bool {
        self.byPeerChannel[channel]?.links.isInMessage(transfer.handle) == false
    }

    /// Makes Proton store the format of a message with its first transfer.
    func mark(
        _ edited: [UInt8]?,
        _ head: UnsafeRawBufferPointer,
        _ transfer: FrameHeader.Transfer
    ) -> [UInt8]? {
        // Until this side's open is sent, Proton accepts neither larger frames nor transfers.
        guard self.isOpenSent else { return edited }
        self.receivesFormats = true
        func mark(_ head: UnsafeRawBufferPointer) -> [UInt8]? {
            IncomingEdits.mark(head, format: transfer.messageFormat, limit: self.protonFrameSize)
        }
        return (edited.map { $0.withUnsafeBytes(mark) } ?? mark(head)) ?? edited
    }
}
