// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import NIOCore
internal import Synchronization

/// The received messages of one receiver that wait for tasks, in order.
///
/// Messages wait in chunks. A task removes a part of a chunk under one short lock, and creates the deliveries outside
/// the lock.
final class Inbox: WaitingInbox {
    /// A part of a chunk that a task has removed.
    struct Part: Sendable {
        let chunk: ArrivalChunk
        let range: Range<Int>
        /// The payloads of the part's large messages, in order.
        let large: [LargeArrival]
    }

    struct State: InboxState {
        fileprivate var chunks: Deque<ArrivalChunk> = []
        /// The number of messages that tasks have removed from the first chunk.
        fileprivate var taken = 0
        fileprivate var large: Deque<LargeArrival> = []
        fileprivate var count = 0
        fileprivate var weight = 0
        fileprivate var peakWeight = 0
        var waits = InboxWaits<Part>()

        fileprivate mutating func append(_ arrivals: Arrivals.Batch) {
            for chunk in arrivals.chunks {
                self.chunks.append(chunk)
                self.count += chunk.count
                self.weight += chunk.sums(0..<chunk.count).weight
            }
            self.large.append(contentsOf: arrivals.large)
        }

        mutating func pop() -> Part? { self.pop(max: 1) }

        /// Removes up to `count` messages from the first chunk, in constant time.
        mutating func pop(max count: Int) -> Part? {
            guard count > 0, let chunk = self.chunks.first else { return nil }
            let range = self.taken..<(self.taken + min(count, chunk.count - self.taken))
            let sums = chunk.sums(range)
            self.count -= range.count
            self.weight -= sums.weight
            self.waits.unreported += sums.reported
            self.taken = range.upperBound
            if self.taken == chunk.count {
                self.chunks.removeFirst()
                self.taken = 0
            }
            var large: [LargeArrival] = []
            for _ in 0..<sums.large { if let payload = self.large.popFirst() { large.append(payload) } }
            return Part(chunk: chunk, range: range, large: large)
        }
    }

    private let state = Mutex(State())
    private let reports: Atomic<Int>
    let isStarved: @Sendable () -> Bool
    let report: @Sendable (Int) -> Void
    let settler: Settler

    /// Creates an inbox. ``WaitingInbox`` describes the other parameters.
    ///
    /// - Parameter settler: The destination of decisions about the deliveries.
    init(
        reportEvery: Int = .max,
        isStarved: @escaping @Sendable () -> Bool = { false },
        report: @escaping @Sendable (Int) -> Void = { _ in },
        settler: Settler
    ) {
        self.reports = Atomic(reportEvery)
        self.isStarved = isStarved
        self.report = report
        self.settler = settler
    }

    func withState<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        self.state.withLock { body(&$0) }
    }

    var reportEvery: Int { self.reports.load(ordering: .relaxed) }

    func setReportEvery(_ count: Int) {
        if self.reportEvery != count { self.reports.store(count, ordering: .relaxed) }
    }

    var weight: Int { self.withState { $0.weight } }
    var peakWeight: Int { self.withState { $0.peakWeight } }
    var count: Int { self.withState { $0.count } }

    /// Returns the number of waiting messages that are not settled.
    ///
    /// - Parameter isUnsettled: Whether the delivery of a key is still unsettled.
    func unsettledCount(_ isUnsettled: (SlotKey) -> Bool) -> Int {
        self.withState { state in
            var count = 0
            var first = state.taken
            for chunk in state.chunks {
                for index in first..<chunk.count where chunk[index].slot != 0 {
                    if isUnsettled(SlotKey(bitPattern: chunk[index].slot)) { count += 1 }
                }
                first = 0
            }
            return count
        }
    }

    func push(_ arrivals: Arrivals.Batch) {
        self.add { state in
            state.append(arrivals)
            state.peakWeight = max(state.peakWeight, state.weight)
        }
    }

    /// Removes the messages that the sender has not settled, and returns their keys. The settled messages stay, in
    /// order.
    ///
    /// - Parameter isUnsettled: Whether the delivery of a key is still unsettled.
    func removeUnsettled(_ isUnsettled: (SlotKey) -> Bool) -> [SlotKey] {
        self.withState { state in
            var keys: [SlotKey] = []
            let kept = Arrivals()
            while let part = state.pop(max: .max) {
                var large = part.large[...]
                state.waits.unreported -= kept.keep(part.chunk, part.range, &large, isUnsettled, removed: &keys)
            }
            state.append(kept.take())
            return keys
        }
    }
}
