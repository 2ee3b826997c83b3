// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The reasons why a message has no room.

extension SendGate {
    /// Returns the reason why a full level has no room for a message of a link.
    func refusal(
        _ level: SendRefusal.Level,
        bytes: Int,
        _ link: Node,
        among links: [Node: LinkStatus]
    ) -> SendRefusal {
        let (node, ledger) = self.ledger(level, from: link) ?? (link, ByteLedger(high: .max, low: .max))
        let budget = level == .budget ? self.share?.budget : nil
        // The link below the level that holds the most bytes.
        var heaviest: (bytes: Int, cause: LaneCause)?
        for (other, status) in links where self.isLevel(node, above: other) {
            let used = self.ledger(other)?.used ?? 0
            if used > heaviest?.bytes ?? 0 { heaviest = (used, status.cause.load(ordering: .relaxed)) }
        }
        return SendRefusal(
            level: level,
            bytes: bytes,
            high: budget?.limit.bytes ?? ledger.high,
            low: budget?.low.bytes ?? ledger.low,
            used: budget?.used.bytes ?? ledger.used,
            cause: heaviest?.cause
        )
    }

    /// Returns the reason why the first waiting message of a link has no room; `nil` if no message waits.
    func refusalOfFirst(_ node: Node, among links: [Node: LinkStatus]) -> SendRefusal? {
        guard let (bytes, level) = self.first(at: node) else { return nil }
        return self.refusal(level, bytes: bytes, node, among: links)
    }
}
