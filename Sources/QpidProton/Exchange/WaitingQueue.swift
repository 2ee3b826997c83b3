// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import Synchronization

/// The elements from the event loop for waiting tasks, in order, with their weight.
///
/// The pushing side limits the number of elements. The queue counts their weight, and the peak of the weight.
final class WaitingQueue<Element: Sendable>: WaitingInbox {
    /// An element, its weight in bytes, and whether its receipt is reported.
    struct Entry: Sendable {
        let element: Element
        let weight: Int
        let isReported: Bool
    }

    struct State: InboxState {
        fileprivate var entries: Deque<Entry> = []
        fileprivate var weight = 0
        fileprivate var peakWeight = 0
        var waits = InboxWaits<Element>()

        mutating func pop() -> Element? {
            guard let entry = self.entries.popFirst() else { return nil }
            self.weight -= entry.weight
            if entry.isReported { self.waits.unreported += 1 }
            return entry.element
        }
    }

    private let state = Mutex(State())
    let reportEvery: Int
    let isStarved: @Sendable () -> Bool
    let report: @Sendable (Int) -> Void

    /// Creates a queue. ``WaitingInbox`` describes the parameters.
    init(
        reportEvery: Int = .max,
        isStarved: @escaping @Sendable () -> Bool = { false },
        report: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.reportEvery = reportEvery
        self.isStarved = isStarved
        self.report = report
    }

    func withState<Part: Sendable>(_ body: (inout State) -> Part) -> Part {
        self.state.withLock { body(&$0) }
    }

    var weight: Int { self.withState { $0.weight } }
    var peakWeight: Int { self.withState { $0.peakWeight } }
    var count: Int { self.withState { $0.entries.count } }

    func push(contentsOf entries: [Entry]) {
        self.add { state in
            for entry in entries {
                state.entries.append(entry)
                state.weight += entry.weight
            }
            state.peakWeight = max(state.peakWeight, state.weight)
        }
    }

    /// Removes and returns all elements.
    func removeAll() -> [Element] {
        self.withState { state in
            defer {
                state.entries = []
                state.weight = 0
            }
            return state.entries.map(\.element)
        }
    }

    /// Removes and returns the next element; `nil` if the queue is empty or has ended.
    func poll() -> Element? {
        self.take { $0.pop() }
    }

    /// Removes and returns up to `count` elements, without a wait.
    func poll(max count: Int) -> [Element] {
        self.take { state in
            var elements: [Element] = []
            while elements.count < count, let element = state.pop() { elements.append(element) }
            return elements
        }
    }

    /// Waits for the next element; see ``WaitingInbox/nextItem(id:onWait:)``.
    func next(id: UInt64? = nil, onWait: () -> Void = {}) async throws(AMQPError) -> Element? {
        try await self.nextItem(id: id, onWait: onWait)
    }
}
