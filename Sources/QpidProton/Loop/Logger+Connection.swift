// SPDX-License-Identifier: Apache-2.0

internal import Logging

extension Logger {
    /// Warns of accepted messages that fail because their link, session or connection has ended.
    ///
    /// - Parameter link: The metadata of the link, if there is one.
    func gaveUp(unsent: Int, unsettled: Int = 0, _ cause: AMQPError, of link: @autoclosure () -> Metadata = [:]) {
        guard unsent + unsettled > 0 else { return }
        var metadata = Metadata.amqp([.unsent: "\(unsent)", .unsettled: "\(unsettled)"], error: cause)
        metadata.merge(link()) { $1 }
        self.warning("messages failed: their sender has ended", metadata: metadata)
    }

    /// Logs an oversized frame of this side, or an open that a peer need not accept.
    func sentLargeFrame(ofSize size: Int, isOpen: Bool, limit: Int) {
        if isOpen {
            self.info(
                "the open frame is larger than 512 bytes, which a peer need not accept",
                metadata: .amqp([.size: "\(size)", .limit: "512"])
            )
        } else {
            self.error(
                "a frame was sent that is larger than the peer accepts",
                metadata: .amqp([.size: "\(size)", .limit: "\(limit)"])
            )
        }
    }
}
