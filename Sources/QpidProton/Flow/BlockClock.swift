// SPDX-License-Identifier: Apache-2.0

/// The time for which each cause has blocked a link. Each moment counts for one cause or for none.
struct BlockClock {
    /// The current cause; `nil` while the link moves or has no work.
    private(set) var cause: AMQPBlockCause?
    /// The start of the current block, in nanoseconds of the event loop's clock.
    private(set) var since: Int64 = 0
    /// Whether the current block has been reported.
    var isAnnounced = false
    /// The times by the index of the cause, because hashing a cause would hash its name.
    private var totals = Array(repeating: Int64(0), count: AMQPBlockCause.allCases.count)

    /// A finished block.
    struct Ended: Equatable {
        let cause: AMQPBlockCause
        let duration: Int64
        let wasAnnounced: Bool
    }

    /// Sets the current cause. Returns the block that this change ends, if there was one.
    mutating func note(_ cause: AMQPBlockCause?, at now: Int64) -> Ended? {
        guard cause != self.cause else { return nil }
        let ended = self.cause.map { Ended(cause: $0, duration: now - self.since, wasAnnounced: self.isAnnounced) }
        if let ended { self.totals[ended.cause.place] += ended.duration }
        self.cause = cause
        self.since = now
        self.isAnnounced = false
        return ended
    }

    /// Returns the total time of each cause, including the current block.
    func totals(at now: Int64) -> [AMQPBlockCause: Duration] {
        var totals: [AMQPBlockCause: Duration] = [:]
        for cause in AMQPBlockCause.allCases {
            let time = self.totals[cause.place] + (cause == self.cause ? now - self.since : 0)
            if time > 0 { totals[cause] = .nanoseconds(time) }
        }
        return totals
    }
}

extension AMQPBlockCause {
    /// The index of the cause in the totals.
    fileprivate var place: Int {
        switch self {
        case .linkLimit: 0
        case .sessionLimit: 1
        case .connectionLimit: 2
        case .memoryBudget: 3
        case .credit: 4
        case .unsettled: 5
        case .remoteWindow: 6
        case .rate: 7
        case .socket: 8
        case .application: 9
        case .messages: 10
        case .closed: 11
        case .stream: 12
        case .replayLimit: 13
        }
    }
}
