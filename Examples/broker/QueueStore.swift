// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton
import Synchronization

/// The queues by name, and the counters.
final class QueueStore: Sendable {
    private struct State {
        // AMQP compares addresses by their bytes.
        var queues: [ByteKey: Queue] = [:]
        var dynamicCount = 0
    }

    let limits: Limits
    let counters = Counters()
    private let state = Mutex(State())

    init(limits: Limits) {
        self.limits = limits
    }

    /// Returns the queue with a name, and creates the queue if it does not exist.
    func queue(_ name: String) -> Queue {
        self.state.withLock { state in
            if let queue = state.queues[ByteKey(name)] { return queue }
            let queue = Queue(name: name, limit: self.limits.queueBytes, counters: self.counters)
            state.queues[ByteKey(name)] = queue
            return queue
        }
    }

    /// Creates a queue with a generated name.
    func makeDynamicQueue() -> Queue {
        let number = self.state.withLock { state in
            state.dynamicCount += 1
            return state.dynamicCount
        }
        return self.queue("dynamic-\(number)-\(String(UInt64.random(in: .min ... .max), radix: 36))")
    }

    /// Removes a queue with its messages.
    func remove(_ queue: Queue) {
        self.state.withLock { $0.queues[ByteKey(queue.name)] = nil }
    }

    /// Prints the counters, as JSON on stdout or as a line on stderr.
    ///
    /// - Throws: `SystemFailure` if the JSON cannot be written.
    func printCounters(json: Bool) throws(SystemFailure) {
        let queues = self.state.withLock { Array($0.queues.values) }
        if json {
            try self.counters.report(queues).print()
        } else {
            Console.error("broker: \(self.counters.summary(queues))")
        }
    }
}

/// The counts since the start of the broker.
final class Counters: Sendable {
    let connections = Atomic(0)
    let received = Atomic(0)
    let refused = Atomic(0)
    let delivered = Atomic(0)
    let accepted = Atomic(0)
    let rejected = Atomic(0)
    let released = Atomic(0)
    let modified = Atomic(0)
    let settled = Atomic(0)
    let returned = Atomic(0)

    /// One line for people: the counters above zero, and the contents of the queues.
    func summary(_ queues: [Queue]) -> String {
        let counts = [
            (self.refused.value, "refused"), (self.delivered.value, "delivered"), (self.accepted.value, "accepted"),
            (self.rejected.value, "rejected"), (self.released.value, "released"), (self.modified.value, "modified"),
            (self.settled.value, "settled"), (self.returned.value, "returned"),
        ]
        let received = self.received.value
        var parts = ["\(Units.count(received)) \(received == 1 ? "message" : "messages") received"]
        parts += counts.filter { $0.0 > 0 }.map { "\(Units.count($0.0)) \($0.1)" }
        let sizes = queues.map(\.size)
        let (messages, bytes) = (sizes.reduce(0) { $0 + $1.messages }, sizes.reduce(0) { $0 + $1.bytes })
        parts.append("\(Units.count(messages)) queued (\(Units.bytes(bytes)))")
        parts.append("\(queues.count) \(queues.count == 1 ? "queue" : "queues")")
        let connections = self.connections.value
        parts.append("\(Units.count(connections)) \(connections == 1 ? "connection" : "connections")")
        return parts.joined(separator: ", ")
    }

    func report(_ queues: [Queue]) -> Report {
        var report = Report()
        let sizes = queues.map(\.size)
        report.add("connections", self.connections.value)
        report.add("queues", queues.count)
        report.add("received", self.received.value)
        report.add("refused", self.refused.value)
        report.add("delivered", self.delivered.value)
        report.add("accepted", self.accepted.value)
        report.add("rejected", self.rejected.value)
        report.add("released", self.released.value)
        report.add("modified", self.modified.value)
        report.add("settled", self.settled.value)
        report.add("returned", self.returned.value)
        report.add("queued", sizes.reduce(0) { $0 + $1.messages })
        report.add("queued_bytes", sizes.reduce(0) { $0 + $1.bytes })
        report.add("queue_bytes_peak", sizes.map(\.peakBytes).max() ?? 0)
        report.add("resident_bytes_peak", Usage.residentPeak)
        return report
    }
}

extension Atomic where Value == Int {
    var value: Int { self.load(ordering: .relaxed) }

    func add(_ count: Int) {
        if count > 0 { self.wrappingAdd(count, ordering: .relaxed) }
    }
}
