// SPDX-License-Identifier: Apache-2.0

internal import CoreMetrics
internal import Synchronization

/// The series that connections share: gauges that are sums over the connections, and counters and timers that outlive
/// them.
///
/// Only gauges are destroyed. The number of counters and timers is bounded, because all dimensions are bounded.
final class MetricsHub: Sendable {
    /// The dimension of all values beyond a limit.
    static let other = "other"
    /// The longest address that becomes a dimension, in bytes.
    private static let longestAddress = 256

    struct Key: Hashable, Sendable {
        let label: String
        let dimensions: [String]
    }

    private struct Sum: Sendable {
        let gauge: Gauge
        var value: Int64 = 0
        var users = 0
    }

    private struct State: Sendable {
        var sums: [Key: Sum] = [:]
        var counters: [Key: Counter] = [:]
        var timers: [Key: CoreMetrics.Timer] = [:]
        var addresses: Set<String> = []
    }

    private let state = Mutex(State())

    /// Returns the dimension of an address: the address itself, or `other` beyond the limit.
    func dimension(of address: String, limit: Int) -> String {
        guard address.utf8.count <= Self.longestAddress else { return Self.other }
        return self.state.withLock { state in
            if state.addresses.contains(address) { return address }
            guard state.addresses.count < limit else { return Self.other }
            state.addresses.insert(address)
            return address
        }
    }

    func counter(_ series: MetricSeries) -> Counter {
        let key = series.key
        return self.state.withLock { state in
            if let counter = state.counters[key] { return counter }
            let counter = Counter(label: key.label, dimensions: series.dimensions, factory: series.factory)
            state.counters[key] = counter
            return counter
        }
    }

    func timer(_ series: MetricSeries) -> CoreMetrics.Timer {
        let key = series.key
        return self.state.withLock { state in
            if let timer = state.timers[key] { return timer }
            let timer = CoreMetrics.Timer(label: key.label, dimensions: series.dimensions, factory: series.factory)
            state.timers[key] = timer
            return timer
        }
    }

    /// Adds a connection to a gauge.
    func share(_ series: MetricSeries) -> GaugeShare {
        let key = series.key
        self.state.withLock { state in
            var sum =
                state.sums[key]
                ?? Sum(gauge: Gauge(label: key.label, dimensions: series.dimensions, factory: series.factory))
            sum.users += 1
            state.sums[key] = sum
        }
        return GaugeShare(self, key)
    }

    // The gauge is set under the lock, so that an older sum does not overwrite a newer one.

    fileprivate func change(_ key: Key, by change: Int64) {
        self.state.withLock { state in
            state.sums[key]?.value += change
            if let sum = state.sums[key] { sum.gauge.record(sum.value) }
        }
    }

    fileprivate func leave(_ key: Key, with value: Int64) {
        self.state.withLock { state in
            guard var sum = state.sums[key] else { return }
            sum.value -= value
            sum.users -= 1
            state.sums[key] = sum.users > 0 ? sum : nil
            sum.gauge.record(sum.value)
            if sum.users == 0 { sum.gauge.destroy() }
        }
    }
}

/// A name with its dimensions.
struct MetricSeries {
    let label: String
    let dimensions: [(String, String)]
    let factory: any MetricsFactory

    var key: MetricsHub.Key {
        MetricsHub.Key(label: self.label, dimensions: self.dimensions.flatMap { [$0.0, $0.1] })
    }
}

/// One connection's part of a gauge, used on its event loop only.
final class GaugeShare {
    private let hub: MetricsHub
    private let key: MetricsHub.Key
    private var value: Int64 = 0
    private var hasEnded = false

    fileprivate init(_ hub: MetricsHub, _ key: MetricsHub.Key) {
        self.hub = hub
        self.key = key
    }

    func record(_ value: Int) {
        guard !self.hasEnded else { return }
        let value = Int64(value)
        self.hub.change(self.key, by: value - self.value)
        self.value = value
    }

    /// Removes the connection's part from the gauge.
    func end() {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        self.hub.leave(self.key, with: self.value)
    }

    deinit { self.end() }
}

extension AMQPMetrics {
    func series(_ name: MetricName, _ more: [(String, String)] = []) -> MetricSeries {
        MetricSeries(
            label: self.name(name.rawValue),
            dimensions: self.dimensions + more,
            factory: self.factory ?? MetricsSystem.factory
        )
    }

    func counter(_ name: MetricName, _ more: [(String, String)] = []) -> Counter {
        self.hub.counter(self.series(name, more))
    }

    func timer(_ name: MetricName, _ more: [(String, String)] = []) -> CoreMetrics.Timer {
        self.hub.timer(self.series(name, more))
    }

    func count(_ name: MetricName, _ number: Int = 1) {
        if number > 0 { self.counter(name).increment(by: number) }
    }

    /// Counts an error that ended a connection, or prevented it.
    func count(connectionError error: AMQPError) {
        self.counter(.connectionErrors, [("condition", error.condition.dimension)]).increment()
    }

    /// Returns the dimension `address` of a terminus.
    func dimension(of address: String?, isDynamic: Bool) -> String {
        if isDynamic { return "dynamic" }
        let shown = address.map { $0.isEmpty ? "" : self.address($0) } ?? ""
        return shown.isEmpty ? "none" : self.hub.dimension(of: shown, limit: self.addressLimit)
    }
}
