// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore
import QpidProton

/// The sending process of ``NeverReads``, whose memory is measured.
struct Offer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "offer",
        abstract: "The process that never-reads starts.",
        shouldDisplay: false
    )
    static let senders = 4
    /// The attempts of one task between two checks.
    private static let attempts = 10
    private static let largest = 10_000_000

    @Option var port: Int
    @Option var bytes: Int
    @Option var seed: UInt64
    @Option var limit: Int

    /// The numbers of offered messages, by result.
    struct Tally: Sendable {
        var attempts = 0
        var offered = 0
        var accepted = 0
        var takenBack = 0
        var largest = 0
        var transfers: [AMQPTracker] = []

        mutating func add(_ other: Tally) {
            self.attempts += other.attempts
            self.offered += other.offered
            self.accepted += other.accepted
            self.takenBack += other.takenBack
            self.largest = max(self.largest, other.largest)
            self.transfers += other.transfers
        }

        mutating func accept(_ transfer: AMQPTracker, _ bytes: Int) {
            self.accepted += bytes
            self.largest = max(self.largest, bytes)
            self.transfers.append(transfer)
        }
    }

    func run() async throws {
        Watchdog.endWithParent()
        var report = Report("never-reads")
        report.note("seed", Double(self.seed))
        var configuration = AMQPConnection.Configuration()
        configuration.sasl = .none
        // The silent peer must not end the connection.
        configuration.idleTimeout = nil
        let connection = try await AMQPConnection.connect(
            host: "127.0.0.1",
            port: self.port,
            configuration: configuration
        )
        let session = try await connection.openSession(.init(sendLimit: .init(high: AMQPByteCount(self.limit))))
        var senders: [AMQPSender] = []
        for index in 0..<Self.senders { senders.append(try await session.openSender(to: "sender-\(index)")) }
        // All messages are slices of this buffer, so that the senders use no further memory.
        let body = ByteBuffer(repeating: 0x5a, count: Self.largest)

        let before = Memory.resetPeak()
        let (tally, checks) = try await self.offer(body, session, senders)
        report.note("offered", Double(tally.offered) / 1e9, "GB")
        report.note("attempts", Double(tally.attempts))
        report.note("accepted", Double(mebibytes: tally.accepted), "MiB")
        report.note("taken-back", Double(tally.takenBack))
        report.note("checks", Double(checks.count))
        // The sender may accept one message that is larger than the limit when no other message waits.
        let most = max(self.limit, tally.largest)
        report.atMost(
            "ledger-peak",
            Double(mebibytes: try await session.snapshot().outgoing.peak.bytes),
            Double(mebibytes: most),
            "MiB"
        )
        report.atMost("ledger-above-limit", Double(checks.aboveLimit), 0)
        report.atMost("ledger-unlike-sum", Double(checks.unlikeSum), 0)
        let growth = max(0, Memory.peak - before)
        report.atMost("resident-growth", Double(mebibytes: growth), Double(mebibytes: self.limit) + 8, "MiB")

        Output.line("offered all")
        await Self.failures(of: tally.transfers, &report)
        try? await connection.waitUntilClosed()
        let left =
            session.outgoingBytes.bytes + senders.reduce(0) { $0 + $1.outgoingBytes.bytes }
            + connection.outgoingBytes.bytes
        report.atMost("ledger-at-the-end", Double(left), 0)
        try report.end()
    }

    private struct Checks {
        var count = 0
        var aboveLimit = 0
        var unlikeSum = 0
    }

    private func offer(
        _ body: ByteBuffer,
        _ session: AMQPSession,
        _ senders: [AMQPSender]
    ) async throws -> (Tally, Checks) {
        var random = SeededRandom(seed: self.seed)
        var all = Tally()
        var checks = Checks()
        let start = ContinuousClock.now
        while all.offered < self.bytes {
            all.add(try await Self.round(body, senders, random.next()))
            // A message that was accepted alone may exceed the limit.
            let used = session.outgoingBytes.bytes
            let time = (ContinuousClock.now - start) / .seconds(1)
            Output.line("never-reads sample \(String(format: "%.3f", time))s \(used)")
            if used > max(self.limit, all.largest) { checks.aboveLimit += 1 }
            if try await !Self.isSum(session, senders) { checks.unlikeSum += 1 }
            checks.count += 1
        }
        return (all, checks)
    }

    /// Runs two tasks for each sender: one calls `trySend`, the other waits and is cancelled.
    private static func round(_ body: ByteBuffer, _ senders: [AMQPSender], _ seed: UInt64) async throws -> Tally {
        try await withThrowingTaskGroup(of: Tally.self) { group in
            for (index, sender) in senders.enumerated() {
                let seed = seed &+ UInt64(2 * index)
                group.addTask { try Self.try(body, sender, SeededRandom(seed: seed)) }
                group.addTask { try await Self.wait(body, sender, SeededRandom(seed: seed &+ 1)) }
            }
            var sum = Tally()
            for try await tally in group { sum.add(tally) }
            return sum
        }
    }

    private static func `try`(_ body: ByteBuffer, _ sender: AMQPSender, _ random: SeededRandom) throws -> Tally {
        var random = random
        var tally = Tally()
        for _ in 0..<Self.attempts {
            let message = Self.message(body, &random, &tally)
            do {
                tally.accept(try sender.trySend(encoded: message), message.readableBytes)
            } catch {
                guard error.condition == .wouldBlock else { throw error }
            }
        }
        return tally
    }

    private static func wait(_ body: ByteBuffer, _ sender: AMQPSender, _ random: SeededRandom) async throws -> Tally {
        var random = random
        var tally = Tally()
        for _ in 0..<Self.attempts {
            let message = Self.message(body, &random, &tally)
            let task = Task { try await sender.enqueue(encoded: message) }
            try await Task.sleep(for: .microseconds(Int.random(in: 0...500, using: &random)))
            task.cancel()
            do {
                tally.accept(try await task.value, message.readableBytes)
            } catch let error as AMQPError where error.condition == .cancelled {
                tally.takenBack += 1
            }
        }
        return tally
    }

    private static func message(_ body: ByteBuffer, _ random: inout SeededRandom, _ tally: inout Tally) -> ByteBuffer {
        let size = random.size(upTo: Self.largest)
        tally.attempts += 1
        tally.offered += size
        return body.getSlice(at: body.readerIndex, length: size) ?? ByteBuffer()
    }

    /// Returns whether the session's bytes equal the sum of its senders' bytes, at a time without changes.
    private static func isSum(_ session: AMQPSession, _ senders: [AMQPSender]) async throws -> Bool {
        for _ in 0..<1_000 {
            let before = session.outgoingBytes.bytes
            let sum = senders.reduce(0) { $0 + $1.outgoingBytes.bytes }
            if before == sum { return true }
            // The connection has written bytes between the two readings.
            try await Task.sleep(for: .milliseconds(1))
        }
        return false
    }

    /// Counts the failures of the transfers. All must fail, because the peer has read no message.
    private static func failures(of transfers: [AMQPTracker], _ report: inout Report) async {
        var settled = 0
        for transfer in transfers {
            if case .success = await Self.result(of: transfer) { settled += 1 }
        }
        report.note("transfers", Double(transfers.count))
        report.atMost("transfers-not-failed", Double(settled), 0)
    }

    private static func result(of transfer: AMQPTracker) async -> Result<AMQPOutcome, AMQPError> {
        do throws(AMQPError) {
            return .success(try await transfer.outcome())
        } catch {
            return .failure(error)
        }
    }
}
