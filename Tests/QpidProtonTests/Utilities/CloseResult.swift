// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

extension AMQPCloseResult {
    /// Throws the error that the close ended with.
    func check() throws(AMQPError) {
        if let error = self.error { throw error }
    }

    /// The messages that were not sent, of all links.
    var unsent: [AMQPUnfinished.Unsent] { self.unfinished.flatMap(\.notSent) }

    /// The received messages that may come again.
    var left: Int { self.settlementsNotWritten + self.settlementsInDoubt + self.deliveriesNotSettled }
}
