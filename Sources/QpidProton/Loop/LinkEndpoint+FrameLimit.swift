internal import Logging

// No frame of this side is larger than the peer's max-frame-size (AMQP 1.0 §2.7.1). Proton keeps to it with transfers alone
// (P62), so what an application can make long is checked, or shortened, before Proton has it.

extension LinkEndpoint {
    /// Throws where the attach frame would be larger than the peer accepts. To be called before the link is opened.
    func checkAttach() throws(AMQPError) {
        guard let size = self.oversize else { return }
        let text =
            "link not attached: its attach frame takes \(size) bytes, and the peer accepts frames of "
            + "\(self.handler.peerFrameSize) bytes; shorten the link's name, addresses, properties, filters or capabilities"
        throw AMQPError(condition: .invalidArgument, detail: text)
    }

    /// The size of the attach frame where that is larger than the peer accepts.
    var oversize: Int? {
        let size = self.link.attachSize
        return size > self.handler.peerFrameSize ? size : nil
    }

    /// Opens a link of the peer here only to close it: without the termini and properties where these do not fit. A link whose
    /// name alone does not fit cannot be answered at all, and the session ends.
    ///
    /// - Returns: Whether the link was opened; if not, it is gone with its session.
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
    /// Sets the outcome of a delivery, as far as a frame of the peer's size holds it: a long text of an error is shortened, and
    /// annotations that do not fit are left out and logged.
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
    /// The most bytes that a disposition with the annotations takes, where that is more than a frame of the peer's size holds.
    fileprivate func oversize(frameSize: Int) -> Int? {
        guard !self.messageAnnotations.isEmpty else { return nil }
        var size = EncodedSize()
        size.add(bytes: FrameLimit.aroundError)
        // What cannot be encoded is not sent.
        do { try size.add(self.messageAnnotations) } catch { return nil }
        return size.bytes > frameSize ? size.bytes : nil
    }
}
