// SPDX-License-Identifier: Apache-2.0

/// Computes how many messages to fetch ahead: as many as the handlers finish within a tenth of a second.
struct HandlerPace: Sendable {
    private static let ahead = 0.1
    private let limits: ConsumerState.Limits
    /// The mean time of a handler in seconds, weighted towards the latest.
    private var mean: Double?

    init(_ limits: ConsumerState.Limits) { self.limits = limits }

    mutating func note(_ time: Duration) {
        let seconds = max(1e-6, time / .seconds(1))
        self.mean = self.mean.map { $0 + (seconds - $0) / 8 } ?? seconds
    }

    var prefetch: Int {
        switch self.limits.prefetch.kind {
        case .fixed(let count): return count
        case .automatic(let limit):
            guard let mean = self.mean else { return 0 }
            return Int(min(Double(limit), Double(self.limits.concurrency) * Self.ahead / mean))
        }
    }
}
