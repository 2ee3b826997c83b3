// SPDX-License-Identifier: Apache-2.0

/// Spreads messages evenly over time. It does not make up for the time of an outage.
struct Pace {
    private let gap: Duration?
    private var next = ContinuousClock.now

    /// - Parameter rate: The messages per second; `nil` for no limit.
    init(_ rate: Double?) { self.gap = rate.map { .seconds(1 / $0) } }

    mutating func wait() async {
        guard let gap = self.gap else { return }
        let now = ContinuousClock.now
        self.next = max(self.next + gap, now - .milliseconds(100))
        // A timer for each message would cost more than the message.
        if self.next > now + .milliseconds(5) { try? await Task.sleep(until: self.next) }
    }
}
