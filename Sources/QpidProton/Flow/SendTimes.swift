// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// The start times of messages by their number, until their outcome arrives: at most the latest ``limit`` times.
struct SendTimes {
    /// The most stored times, of 8 bytes each.
    static let limit = 65_536
    /// The mark of a number without a time.
    private static let none = Int64.min
    private var times: Deque<Int64> = []
    /// The message number of the first stored time.
    private var first = 0

    var count: Int { self.times.count }

    /// Records the time of a message. Numbers rise, and skipped numbers have no time.
    mutating func begin(_ number: Int, at time: Int64) {
        if self.times.isEmpty || number - self.first - self.times.count >= Self.limit {
            self.times.removeAll(keepingCapacity: true)
            self.first = number
        }
        while self.first + self.times.count < number { self.times.append(Self.none) }
        self.times.append(time)
        while self.times.count > Self.limit { self.dropFirst() }
    }

    /// Removes and returns the time of a message; `nil` if none is stored.
    mutating func end(_ number: Int) -> Int64? {
        let place = number - self.first
        guard self.times.indices.contains(place), self.times[place] != Self.none else { return nil }
        let time = self.times[place]
        self.times[place] = Self.none
        while self.times.first == Self.none { self.dropFirst() }
        return time
    }

    private mutating func dropFirst() {
        self.times.removeFirst()
        self.first += 1
    }
}
