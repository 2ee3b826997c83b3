// SPDX-License-Identifier: Apache-2.0

internal import Logging

// No frame of this side exceeds the peer's max-frame-size (AMQP 1.0 §2.7.1). Proton observes this limit only in
// transfers (P62). The library checks or shortens the fields that an application can make long before it passes them to
// Proton.

extension LinkEndpoint {
    /// Throws if the attach frame would exceed the peer's limit. Call it before the link is opened.
    func checkAttach() throws(AMQPError) {
        guard let size = self.oversize else { return }
        let text =
            "link not attached: its attach frame takes \(size) bytes, and the peer accepts frames of "
            + "\(self.handler.peerFrameSize) bytes; shorten the link's name, addresses, properties, filters or capabilities"
        throw AMQPError(condition: .invalidArgument, detail: text)
    }

    /// The size of the attach frame if it exceeds the peer's limit.
    var oversize: Int? {
        let size = self.link.attachSize
        return size > self.handler.peerFrameSize ? size : nil
    }

    /// Opens a link of the peer only to close it, without termini and properties if these do not fit. If the name alone
    /// does not fit, this side cannot answer the link, and ends the session.
    ///
    /// - Returns: Whether this side has opened the link; if not, the link has ended with its session.
    func openToClose() -> Bool {
        if self.oversize != nil { self.link.clearTerminiAndProperties() }
        if let size = self.oversize {
            let text =
                "a link cannot be answered: an attach frame with its name takes \(size) bytes, and the peer accepts "
                + "frames of \(self.handler.peerFrameSize) bytes"
            self.session.close(AMQPError(scope: .session, condition: .frameSizeTooSmall, detail: text))
            return false
        }
        self.link.open()
        return true
    }
}

extension LinkEndpoint {
    /// Sets the outcome of a delivery within the peer's frame size. Shortens a long text of an error. Omits annotations
    /// that do not fit, and logs a warning.
    func set(_ outcome: AMQPOutcome, of delivery: ProtonDelivery) {
        switch outcome {
        case .accepted, .released, .settled: delivery.set(outcome)
        case .rejected(let error):
            delivery.set(.rejected(error?.fitted(to: self.handler.peerFrameSize)))
        case .modified(var changes):
            let limit = self.handler.peerFrameSize
            if let size = changes.oversize(frameSize: limit) {
                self.handler.logger.warning(
                    "modified without its annotations: they do not fit into a frame that the peer accepts",
                    metadata: self.logMetadata([.size: "\(size)", .limit: "\(limit)"])
                )
                changes.messageAnnotations = [:]
            }
            delivery.set(.modified(changes))
        }
    }
}

extension AMQPModified {
    /// Returns the largest size of a disposition with the annotations; `nil` if it fits into the peer's frame size.
    fileprivate func oversize(frameSize: Int) -> Int? {
        guard !self.messageAnnotations.isEmpty else { return nil }
        var size = EncodedSize()
        size.add(bytes: FrameLimit.aroundError)
        // Proton omits annotations that cannot be encoded.
        do { try size.add(self.messageAnnotations) } catch { return nil }
        return size.bytes > frameSize ? size.bytes : nil
    }
}
