// SPDX-License-Identifier: Apache-2.0

// The steps of accepting a peer's session or link on the loop.

extension SessionEndpoint {
    func accept(_ configuration: AMQPSession.Configuration) -> Result<OpenedSession, AMQPError> {
        if let cause = self.ended.cause { return .failure(cause) }
        guard self.session.isLocallyUnopened else {
            return .failure(AMQPError(condition: .illegalState, detail: "the session has been accepted already"))
        }
        do {
            return .success(try self.open(configuration))
        } catch {
            return .failure(error)
        }
    }

}

extension LinkEndpoint {
    /// The fields of the peer's attach.
    var attachOfPeer: AMQPAttach {
        let limit = self.link.remoteMaxMessageSize
        return AMQPAttach(
            name: self.status.name,
            source: self.link.remoteSource,
            target: self.link.remoteTarget,
            properties: self.link.remoteProperties,
            offeredCapabilities: self.peerCapabilities.offered,
            desiredCapabilities: self.peerCapabilities.desired,
            maxMessageSize: limit == 0 ? nil : AMQPByteCount(clamping: limit),
            senderSettleMode: self.link.remoteSenderSettleMode,
            receiverSettleMode: self.link.remoteReceiverSettleMode
        )
    }

    /// Opens the link on this side, if that is still possible, and attaches it.
    fileprivate func accept<Accepted>(
        _ open: (OpenedSession) throws(AMQPError) -> Accepted
    ) -> Result<Accepted, AMQPError> {
        if let error = self.status.endError { return .failure(error) }
        guard self.link.isLocallyUnopened else {
            return .failure(AMQPError(condition: .illegalState, detail: "the link has been accepted already"))
        }
        guard let session = self.session.openedHere, self.session.isLocallyOpen else {
            return .failure(AMQPError(condition: .illegalState, detail: "accept the session before its links"))
        }
        do {
            let accepted = try open(session)
            self.attach()
            return .success(accepted)
        } catch {
            // The answer to this attach exceeds the peer's frame size. Another attempt would be no shorter.
            if self.oversize != nil {
                self.close(AMQPError(scope: .link, condition: .frameSizeTooSmall, detail: error.detail))
            }
            return .failure(error)
        }
    }
}

extension SenderEndpoint {
    func accept(_ configuration: AMQPSender.Configuration) -> Result<AcceptedSender, AMQPError> {
        self.accept { session throws(AMQPError) in
            AcceptedSender(sender: try self.open(configuration), session: session)
        }
    }
}

extension ReceiverEndpoint {
    func accept(_ configuration: AMQPReceiver.Configuration) -> Result<AcceptedReceiver, AMQPError> {
        self.accept { session throws(AMQPError) in
            AcceptedReceiver(receiver: try self.open(configuration), session: session)
        }
    }
}
