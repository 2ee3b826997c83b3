// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore
import QpidProton
import Synchronization

/// A mixed load with faults for a long time: memory must stay flat, and no resource may be left.
struct Soak: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Mixes loads and faults for a long time, and checks resources during and after the run.",
        discussion: """
            This process runs both sides, and a relay between them that resets, half-closes and stops connections. In runs of \
            10 minutes or more, the slope of memory has a goal.
            """
    )

    @Option(help: "How long, in minutes.") var minutes = 30.0
    @Option(help: "The seconds between two samples.") var interval = 5.0
    @Option(help: "The file for the samples.") var csv = "soak.csv"
    @Option(help: "The number of clients at the same time.") var clients = 6
    @Option(help: "The maximum load on one core, in percent.") var share = 22.0
    @Option var seed: UInt64 = 1

    func run() async throws {
        Watchdog.start("soak", limit: .seconds(self.minutes * 60 + 120))
        // The sockets of the event loops stay open. The warm-up opens them before the count starts.
        try await self.warmUp()
        // This opens the descriptors of the task timers before the count starts, too.
        try await Task.sleep(for: .milliseconds(10))
        let start = SoakSample.descriptors
        let world = SoakWorld(seed: self.seed)
        var listening = AMQPListener.Configuration()
        listening.connection = world.configuration
        let listener = try await AMQPListener.bind(port: 0, configuration: listening)
        let relay = SoakRelay(to: listener.port, seed: self.seed)
        try await relay.start()
        let port = relay.port
        let service = Task { await SoakServer(world: world).run(listener) }
        let clients = (0..<self.clients).map { _ in Task { await SoakClient(world: world, port: port).run() } }

        let samples = try await self.watch(world)

        world.isStopping.store(true, ordering: .relaxed)
        for client in clients { await client.value }
        await relay.close()
        await listener.close()
        await service.value
        try await self.report(world, relay, samples, start)
    }

    private func warmUp() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        let service = Task {
            let connections = listener.makeAsyncIterator()
            let connection = try? await connections.next(isolation: nil)
            try? await connection?.waitUntilClosed()
        }
        try await AMQPConnection.withConnection(to: "amqp://127.0.0.1:\(listener.port)") { _ in }
        await service.value
        await listener.close()
    }

    /// Takes samples until the time is over, or an account is inconsistent.
    private func watch(_ world: SoakWorld) async throws -> [SoakSample] {
        guard FileManager.default.createFile(atPath: self.csv, contents: nil),
            let file = FileHandle(forWritingAtPath: self.csv)
        else { throw ValidationError("\(self.csv) cannot be written") }
        defer { try? file.close() }
        try file.write(contentsOf: Data(SoakSample.header.utf8))
        let clock = ContinuousClock()
        let begin = clock.now
        var samples: [SoakSample] = []
        var (last, used) = (begin, SoakSample.processorTime)
        while clock.now < begin + .seconds(self.minutes * 60), world.totals.sums.faults.isEmpty {
            try await clock.sleep(for: .seconds(self.interval))
            let (now, time) = (clock.now, SoakSample.processorTime)
            let cpu = 100 * (time - used) / ((now - last) / .seconds(1))
            (last, used) = (now, time)
            let slowness = Double(world.slowness.load(ordering: .relaxed)) * min(1.5, max(0.8, cpu / self.share))
            world.slowness.store(Int(min(50_000, max(1_000, slowness))), ordering: .relaxed)
            let sample = await SoakSample.take(world, seconds: (now - begin) / .seconds(1), cpu: cpu)
            try file.write(contentsOf: Data(sample.row.utf8))
            samples.append(sample)
        }
        return samples
    }

    private func report(_ world: SoakWorld, _ relay: SoakRelay, _ samples: [SoakSample], _ start: Int) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline,
            world.objects() + world.tasks.load(ordering: .relaxed) + world.sending.used.bytes
                + world.receiving.used.bytes > 0
                || SoakSample.descriptors > start
        {
            try await Task.sleep(for: .milliseconds(100))
        }
        var report = Report("soak")
        let totals = world.totals
        let wrong = totals.sums.faults + totals.faults
        Output.line("soak account \(totals.sums.text)")
        for fault in wrong.prefix(5) { Output.line("soak fault \(fault)") }
        let faults = relay.faults.withLock { $0 }
        Output.line("soak relay " + SoakRelay.Fault.allCases.map { "\($0) \(faults[$0] ?? 0)" }.joined(separator: ", "))
        report.note("connections", Double(totals.connections))
        report.note("failed-connects", Double(totals.failedConnects))
        report.note("links", Double(totals.links))
        report.note("cpu", samples.reduce(0) { $0 + $1.cpu } / Double(max(1, samples.count)), "%")
        report.atMost(
            "send-budget-peak",
            Double(mebibytes: world.sending.peak.bytes),
            Double(mebibytes: world.sending.limit.bytes),
            "MiB"
        )
        report.atMost(
            "receive-budget-peak",
            Double(mebibytes: world.receiving.peak.bytes),
            Double(mebibytes: world.receiving.limit.bytes),
            "MiB"
        )

        let late = samples.filter { $0.seconds >= self.minutes * 20 }
        for (name, path) in [("resident", \SoakSample.resident), ("heap", \SoakSample.heap)] {
            let trend = SoakTrend(late.map { ($0.seconds / 60, Double($0[keyPath: path]) / 1_024) })
            report.note("\(name)-mean", trend.mean / 1_024, "MiB")
            report.note("\(name)-slope-error", trend.error, "KiB/min")
            // One percent of the mean in ten minutes, if that is more.
            let goal = max(64, trend.mean / 1_000)
            if self.minutes >= 10 {
                report.atMost("\(name)-slope", trend.slope, goal, "KiB/min")
            } else {
                report.note("\(name)-slope", trend.slope, "KiB/min")
            }
        }
        if SoakSample.descriptors > start { Output.line("soak open \(SoakSample.files)") }
        report.atMost("unaccounted", Double(wrong.count), 0)
        report.atLeast("offered", Double(totals.sums.offered), 1)
        report.atMost("descriptors-left", Double(SoakSample.descriptors - start), 0)
        report.atMost("objects-left", Double(world.objects()), 0)
        report.atMost("tasks-left", Double(world.tasks.load(ordering: .relaxed)), 0)
        report.atMost("send-budget-left", Double(world.sending.used.bytes), 0, "B")
        report.atMost("receive-budget-left", Double(world.receiving.used.bytes), 0, "B")
        try report.end()
    }
}
