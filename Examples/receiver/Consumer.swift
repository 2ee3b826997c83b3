// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton

/// Counts the received messages, each as soon as it is written and settled.
final class Tally {
    private let clock = ContinuousClock()
    private var first: ContinuousClock.Instant?
    private var last: ContinuousClock.Instant?
    private(set) var messages = 0
    private(set) var bytes = 0
    /// Files whose SHA-256 was wrong or missing, and messages that could not be decoded.
    private(set) var mismatches = 0
    /// Files whose path was not allowed.
    private(set) var refused = 0
    /// Files of which the sender sent a part and then aborted.
    private(set) var aborted = 0
    /// Messages whose acceptance was not sent, because the link had ended.
    var notSettled = 0
    /// Messages that were not settled because their link was lost; the peer sends them again.
    private(set) var stale = 0
    /// The most messages that are named on stderr.
    static let mostNamed = 100
    private var named = 0

    /// The messages that were rejected.
    var rejected: Int { self.mismatches + self.refused }

    /// The time from the arrival of the first message to the settlement of the last.
    var duration: Duration {
        guard let first = self.first, let last = self.last else { return .zero }
        return last - first
    }

    /// Returns one line for the user.
    ///
    /// - Parameter total: The number of requested messages; `nil` for any number.
    func summary(of total: Int?) -> String {
        var summary = Summary("received", self.messages, of: total)
        summary.add(self.rejected, "rejected")
        summary.add(self.aborted, "aborted by the sender")
        summary.add(self.stale, "not settled before a loss")
        summary.add(self.notSettled, "not settled")
        return summary.line(bytes: self.bytes, self.duration)
    }

    func begin() { self.first = self.first ?? self.clock.now }

    func add(_ verdicts: [Verdict]) -> Int {
        self.last = self.clock.now
        var bytes = 0
        for verdict in verdicts {
            switch verdict {
            case .aborted(let text):
                self.aborted += 1
                self.name("incomplete: \(text)")
                continue
            case .stale:
                self.stale += 1
                continue
            case .good(_, let count): bytes += count
            case .mismatch(let error):
                self.mismatches += 1
                self.name("rejected: \(error.detail)")
            case .refused(let error):
                self.refused += 1
                self.name("rejected: \(error.detail)")
            }
            self.messages += 1
        }
        self.bytes += bytes
        return bytes
    }

    private func name(_ text: String) {
        self.named += 1
        if self.named <= Self.mostNamed { Console.error("receiver: \(text)") }
    }

    /// Throws if a message was rejected, incomplete or not settled.
    func check() throws {
        let unnamed = self.named > Self.mostNamed ? "; the first \(Self.mostNamed) are named above" : ""
        if self.rejected > 0 {
            throw Failure("rejected \(Units.count(self.rejected)) of \(Units.messages(self.messages))\(unnamed)")
        }
        if self.aborted > 0 {
            throw Failure("the sender did not send the whole of \(Units.messages(self.aborted))\(unnamed)")
        }
        if self.notSettled > 0 {
            let count = Units.messages(self.notSettled)
            throw Failure(
                "not settled: \(count): the link ended before the acceptance was sent, so they may come again"
            )
        }
    }
}

/// The receiver's decision about a message.
enum Verdict {
    /// The message is written: the number of its message-id, and the bytes of its body.
    case good(id: UInt64?, bytes: Int)
    /// The bytes of the message do not have the expected digest.
    case mismatch(AMQPError)
    /// The message must not be written.
    case refused(AMQPError)
    /// The end of the message is missing. The text is the reason.
    case aborted(String)
    /// The peer sends the message again, because its link was lost before the settlement.
    case stale
}

/// Receives messages in batches, writes them with a sink, settles them and grants credit.
struct Consumer {
    private static let batch = 128

    let count: Int?
    let idleTimeout: Duration?
    /// How long each message is processed, one after another; `nil` for no delay.
    let delay: Duration?
    /// The credit that the program grants; `nil` if the library grants it.
    let credit: Int?
    let progress: Progress

    func run(_ receiver: any Inlet, _ sink: any Sink, _ tally: Tally, _ sequence: inout SequenceCheck?) async throws {
        var granted = 0
        while tally.messages < self.count ?? .max {
            if let count = self.count, let credit = self.credit {
                let wanted = min(count, tally.messages + credit) - granted
                // Grants a quarter at a time, or the rest, so that the sender never waits for credit.
                if wanted > 0, wanted >= credit / 4 || granted + wanted == count {
                    receiver.grant(credit: wanted)
                    granted += wanted
                }
            }
            let limit = self.delay == nil ? Self.batch : 1
            let batch = try await self.nextBatch(receiver, min(limit, (self.count ?? .max) - tally.messages))
            guard !batch.isEmpty else { return }
            tally.begin()
            if let delay = self.delay { try await Task.sleep(for: delay) }
            var verdicts = try await self.verdicts(of: batch, sink)
            self.settle(batch, &verdicts, &sequence, comesAgain: receiver.outlivesLinks)
            let before = tally.messages
            let bytes = tally.add(verdicts)
            self.progress.add(messages: tally.messages - before, bytes: sink.showsProgress ? 0 : bytes)
            // An aborted message has used credit, so another one may replace it.
            granted -= batch.count - (tally.messages - before)
            // The connection may run on the same thread.
            await Task.yield()
        }
    }

    /// Writes messages with the sink. Releases all of them if this side fails.
    private func verdicts(of batch: [AMQPDelivery], _ sink: any Sink) async throws -> [Verdict] {
        do {
            return try await sink.take(batch)
        } catch {
            for delivery in batch { delivery.release() }
            throw error
        }
    }

    /// - Parameter comesAgain: Whether the peer sends a message of a lost link again, so that it does not count.
    private func settle(
        _ batch: [AMQPDelivery],
        _ verdicts: inout [Verdict],
        _ sequence: inout SequenceCheck?,
        comesAgain: Bool
    ) {
        var areAllGood = true
        for verdict in verdicts {
            if case .good(let id, _) = verdict { sequence?.add(id) } else { areAllGood = false }
        }
        // One range costs less than many single settlements.
        if areAllGood, !comesAgain { return _ = batch.acceptAll() }
        for (index, delivery) in batch.enumerated() {
            let settlement: AMQPSettlement
            switch verdicts[index] {
            case .good: settlement = delivery.accept()
            case .aborted, .stale: continue
            case .mismatch(let error), .refused(let error): settlement = delivery.reject(error)
            }
            if comesAgain, settlement == .stale { verdicts[index] = .stale }
        }
    }

    private func nextBatch(_ receiver: any Inlet, _ most: Int) async throws -> [AMQPDelivery] {
        guard let limit = self.idleTimeout else { return try await receiver.nextBatch(max: most) }
        var batch: [AMQPDelivery] = []
        while batch.count < most, let delivery = receiver.poll() { batch.append(delivery) }
        if batch.isEmpty, let delivery = try await receiver.receive(within: limit) { batch.append(delivery) }
        return batch
    }
}

/// Checks that the numbers from 1 arrive, each once and in order.
struct SequenceCheck: CustomStringConvertible {
    /// The highest number, whose bit set needs at most 16 MiB.
    private static let highest: UInt64 = 1 << 27
    private var seen: [UInt64] = []
    private var distinct = 0
    private var last: UInt64 = 0
    private var duplicates = 0
    private var outOfOrder = 0
    private var unnumbered = 0

    mutating func add(_ number: UInt64?) {
        guard let number, number > 0, number <= Self.highest else { return self.unnumbered += 1 }
        let (word, bit) = (Int(number >> 6), UInt64(1) << (number & 63))
        if word >= self.seen.count {
            self.seen += repeatElement(0, count: max(word + 1, self.seen.count * 2) - self.seen.count)
        }
        if number != self.last + 1 { self.outOfOrder += 1 }
        self.last = number
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit
            self.distinct += 1
        } else {
            self.duplicates += 1
        }
    }

    /// The numbers below the highest that did not arrive.
    private var missing: Int {
        guard let word = self.seen.lastIndex(where: { $0 != 0 }) else { return 0 }
        return word * 64 + 63 - self.seen[word].leadingZeroBitCount - self.distinct
    }

    /// Whether every number arrived, and every message had one.
    var isComplete: Bool { self.missing == 0 && self.unnumbered == 0 }
    /// Whether each number arrived once and in order.
    var isGood: Bool { self.isComplete && self.duplicates == 0 && self.outOfOrder == 0 }

    var description: String {
        "\(self.missing) missing, \(self.duplicates) twice, \(self.outOfOrder) out of order, \(self.unnumbered) unnumbered"
    }

    func add(to report: inout Report) {
        report.add("missing", self.missing)
        report.add("duplicates", self.duplicates)
        report.add("out_of_order", self.outOfOrder)
        report.add("unnumbered", self.unnumbered)
    }
}
