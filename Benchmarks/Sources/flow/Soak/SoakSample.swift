// SPDX-License-Identifier: Apache-2.0

import CHeap
import Foundation
import QpidProton
import Synchronization

/// One sample of the soak, taken every few seconds.
struct SoakSample: Sendable {
    static let header =
        "seconds,resident_bytes,heap_bytes,descriptors,connections,objects,tasks,outgoing_bytes,socket_bytes,"
        + "send_budget_bytes,receive_budget_bytes,unsettled,cpu_percent,accounted,slowness\n"

    var seconds = 0.0
    var resident = 0
    var heap = 0
    var descriptors = 0
    var connections = 0
    var objects = 0
    var tasks = 0
    var outgoing = 0
    var socket = 0
    var sendBudget = 0
    var receiveBudget = 0
    var unsettled = 0
    var cpu = 0.0
    var accounted = 0
    var slowness = 1.0

    var row: String {
        "\(Self.text(self.seconds)),\(self.resident),\(self.heap),\(self.descriptors),\(self.connections),"
            + "\(self.objects),\(self.tasks),\(self.outgoing),\(self.socket),\(self.sendBudget),\(self.receiveBudget),"
            + "\(self.unsettled),\(Self.text(self.cpu)),\(self.accounted),\(Self.text(self.slowness))\n"
    }

    private static func text(_ value: Double) -> String { String(format: "%.1f", value) }

    static func take(_ world: SoakWorld, seconds: Double, cpu: Double) async -> SoakSample {
        var sample = SoakSample(seconds: seconds, cpu: cpu)
        // The allocator first returns its free memory to the system. The rest is in use, or is a gap between used
        // blocks.
        heap_trim()
        sample.resident = Memory.resident
        sample.heap = heap_bytes()
        sample.descriptors = Self.descriptors
        let open = world.open()
        sample.connections = open.count
        for connection in open {
            // An ended connection holds no bytes.
            guard let snapshot = try? await connection.snapshot() else { continue }
            sample.outgoing += snapshot.outgoing.used.bytes
            sample.socket += snapshot.socket.used.bytes
            sample.unsettled += snapshot.links.reduce(0) { $0 + $1.unsettled }
        }
        sample.objects = world.objects()
        sample.tasks = world.tasks.load(ordering: .relaxed)
        sample.sendBudget = world.sending.used.bytes
        sample.receiveBudget = world.receiving.used.bytes
        sample.accounted = world.totals.sums.offered
        sample.slowness = Double(world.slowness.load(ordering: .relaxed)) / 1_000
        return sample
    }

    /// The number of open files of this process, without the file that lists them.
    static var descriptors: Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 1) - 1
    }

    /// The files of the open descriptors.
    static var files: String {
        let place = "/proc/self/fd"
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []
        return numbers.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(place)/\($0)") }
            .sorted().joined(separator: ", ")
    }

    /// The processor time of this process, in seconds.
    static var processorTime: Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds = { (time: timeval) in Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}

/// A line through points, by least squares.
struct SoakTrend {
    /// The rise per minute, and its standard error.
    let slope, error: Double
    let mean: Double

    init(_ points: [(minutes: Double, value: Double)]) {
        let count = Double(max(1, points.count))
        let middle = points.reduce(0) { $0 + $1.minutes } / count
        let mean = points.reduce(0) { $0 + $1.value } / count
        let spread = points.reduce(0) { $0 + ($1.minutes - middle) * ($1.minutes - middle) }
        let slope = points.reduce(0) { $0 + ($1.minutes - middle) * ($1.value - mean) } / max(spread, 1e-9)
        let rest = points.reduce(0) { sum, point in
            let off = point.value - mean - slope * (point.minutes - middle)
            return sum + off * off
        }
        self.slope = slope
        self.mean = mean
        self.error = (rest / max(1, count - 2) / max(spread, 1e-9)).squareRoot()
    }
}
