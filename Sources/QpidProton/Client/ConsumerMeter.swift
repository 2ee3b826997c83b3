// SPDX-License-Identifier: Apache-2.0

internal import CoreMetrics
internal import Synchronization

/// Reports a consumer to swift-metrics. Its counters outlive the consumer.
final class ConsumerMeter: Sendable {
    private let handled: Counter
    private let failed: Counter
    private let rejected: Counter
    private let time: CoreMetrics.Timer
    /// The reported numbers.
    private let counted = Mutex((handled: 0, failed: 0, rejected: 0))

    /// - Parameters:
    ///   - settings: The settings of the reports.
    ///   - source: The source of the consumer's messages.
    init(_ settings: AMQPMetrics, _ source: AMQPSource) {
        let dimensions = [("address", settings.dimension(of: source.address, isDynamic: source.isDynamic))]
        self.handled = settings.counter(.consumerHandled, dimensions)
        self.failed = settings.counter(.consumerFailed, dimensions)
        self.rejected = settings.counter(.consumerRejected, dimensions)
        self.time = settings.timer(.consumerTime, dimensions)
    }

    /// Reports the consumer's numbers. Older numbers may arrive after newer ones.
    func update(_ result: AMQPConsumerResult) {
        let failures = result.threw + result.timedOut
        let more = self.counted.withLock { counted in
            defer {
                counted.handled = max(counted.handled, result.handled)
                counted.failed = max(counted.failed, failures)
                counted.rejected = max(counted.rejected, result.rejected)
            }
            return (result.handled - counted.handled, failures - counted.failed, result.rejected - counted.rejected)
        }
        if more.0 > 0 { self.handled.increment(by: more.0) }
        if more.1 > 0 { self.failed.increment(by: more.1) }
        if more.2 > 0 { self.rejected.increment(by: more.2) }
    }

    /// Records how long a handler ran until it returned or threw.
    func returned(after time: Duration) { self.time.recordNanoseconds(time.nanoseconds) }
}
