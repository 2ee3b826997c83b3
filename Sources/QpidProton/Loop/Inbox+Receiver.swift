// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension Inbox {
    /// Creates the inbox of a receiver, whose tasks report to it by its key.
    convenience init(of receiver: ReceiverEndpoint, key: SlotKey) {
        let handler = receiver.handler
        let isAutomatic = receiver.state.window.policy != .manual
        self.init(
            reportEvery: Self.reportEvery(receiver.state.window.policy, isBudgeted: receiver.account.share != nil),
            isStarved: { [status = receiver.status] in
                let isShort = status.credit.load(ordering: .relaxed) == 0 || status.isHeldBack.load(ordering: .relaxed)
                return isAutomatic && isShort
            },
            report: { [outbox = handler.outbox] count in outbox.taken(count, receiver: key) },
            settler: Settler(
                outbox: handler.outbox,
                receiver: key,
                unsent: UnsentSettlements(
                    metadata: receiver.logMetadata(),
                    logger: handler.logger,
                    onLoss: receiver.meter?.lost
                )
            )
        )
    }

    /// Returns the number of receipts per report. With a window in bytes, bytes in Proton may wait for a receipt, so
    /// the inbox reports every receipt at once.
    private static func reportEvery(_ policy: CreditPolicy, isBudgeted: Bool) -> Int {
        switch policy {
        case _ where isBudgeted: 1
        case .messages(let count): max(1, count / 4)
        case .bytes, .automatic: 1
        case .manual, .onDemand, .unbounded: Int.max
        }
    }
}
