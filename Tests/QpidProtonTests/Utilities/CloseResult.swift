// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

extension AMQPCloseResult {
    /// The unsent messages of all links.
    var unsent: [AMQPUnfinished.Unsent] { self.unfinished.flatMap(\.notSent) }

    /// The number of received messages that may arrive again.
    var left: Int { self.settlementsNotWritten + self.settlementsInDoubt + self.deliveriesNotSettled }
}
