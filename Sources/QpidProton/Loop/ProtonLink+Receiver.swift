// SPDX-License-Identifier: Apache-2.0

extension ProtonLink {
    /// Sets the fields of a receiver's attach, except its max-message-size.
    func prepare(_ configuration: AMQPReceiver.Configuration) throws(AMQPError) {
        try self.setSource(configuration.source)
        try self.setTarget(configuration.target)
        try CheckedText.check(configuration.properties, "the receiver's properties")
        try self.setProperties(configuration.properties, configuration.capabilities)
        self.setSettleModes(sender: configuration.senderSettleMode, receiver: configuration.settleMode)
    }
}

extension AMQPError {
    /// Returns the error for a peer that exceeded its credit (AMQP 1.0 §2.8.15).
    static func overrun(_ detail: String) -> AMQPError {
        AMQPError(scope: .link, condition: .linkTransferLimitExceeded, detail: detail)
    }
}
