// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import NIOConcurrencyHelpers
import QpidProton

/// The metrics of the client. They omit the random number of the reply queue, which differs in each process.
let metrics: AMQPMetrics = {
    var metrics = AMQPMetrics()
    metrics.address = { $0.contains("replies-") ? "replies" : $0 }
    return metrics
}()

/// Keeps the last value of each metric, and prints all values in the text format of Prometheus.
///
/// Your service uses a backend of swift-metrics instead.
final class MetricsBoard: MetricsFactory {
    private let series = NIOLockedValueBox<[String: Series]>([:])

    var text: String {
        self.series.withLockedValue { all in
            all.map { "\($0.key) \($0.value.value)\n" }.sorted().joined()
        }
    }

    private func find(_ label: String, _ dimensions: [(String, String)]) -> Series {
        let name = String(label.map { $0.isLetter || $0.isNumber ? $0 : "_" })
        let labels = dimensions.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        let key = labels.isEmpty ? name : "\(name){\(labels)}"
        return self.series.withLockedValue { all in
            let series = all[key] ?? Series()
            all[key] = series
            return series
        }
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { $0 += $1 == "\"" || $1 == "\\" ? "\\\($1)" : $1.isNewline ? "\\n" : "\($1)" }
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.find(label, dimensions)
    }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        self.find(label, dimensions)
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        self.find(label + ".seconds_sum", dimensions)
    }

    private func destroy(_ handler: any AnyObject) {
        self.series.withLockedValue { all in all = all.filter { $0.value !== handler } }
    }
    func destroyCounter(_ handler: any CounterHandler) { self.destroy(handler) }
    func destroyRecorder(_ handler: any RecorderHandler) { self.destroy(handler) }
    func destroyTimer(_ handler: any TimerHandler) { self.destroy(handler) }
}

/// A counter, the last value of a gauge, or the sum of a timer.
private final class Series: CounterHandler, RecorderHandler, TimerHandler {
    private let box = NIOLockedValueBox(0.0)

    var value: Double { self.box.withLockedValue { $0 } }

    func increment(by amount: Int64) { self.box.withLockedValue { $0 += Double(amount) } }
    func reset() { self.box.withLockedValue { $0 = 0 } }
    func record(_ value: Int64) { self.record(Double(value)) }
    func record(_ value: Double) { self.box.withLockedValue { $0 = value } }
    func recordNanoseconds(_ duration: Int64) { self.box.withLockedValue { $0 += Double(duration) / 1e9 } }
}
