// SPDX-License-Identifier: Apache-2.0

import Logging
import QpidProton
import Synchronization
import TestSupport
import Testing

/// Networks that are slow, distant, or split the bytes into odd pieces. Every message arrives and is settled, within
/// the limits and without a stall.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct NetworkSlowTests {
    struct Line: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var plan: FaultPlan
        var count: Int
        var window: Int
    }

    /// A line without faults of the proxy. `dev/netem-check` slows the loopback itself.
    static let loopback = Line(testDescription: "no faults", plan: FaultPlan(), count: 1_000, window: 200)

    static let lines = [
        Line(
            testDescription: "1 KiB/s",
            plan: .with { $0.bytesPerSecond = 1_024 },
            count: 40,
            window: 10
        ),
        Line(testDescription: "segments of 1 byte", plan: .with { $0.segment = 1 }, count: 300, window: 50),
        Line(
            testDescription: "200 ms round trips",
            plan: .with { $0.delay = .milliseconds(100) },
            count: 1_000,
            window: 200
        ),
        Line(
            testDescription: "gathered to 4 KiB or 20 ms",
            plan: .with { $0.gather = .init(bytes: 4_096, time: .milliseconds(20)) },
            count: 1_000,
            window: 50
        ),
        Line(
            testDescription: "200 ms round trips, 16 KiB/s, in segments of 100 bytes",
            plan: .with {
                $0.delay = .milliseconds(100)
                $0.bytesPerSecond = 16_384
                $0.segment = 100
            },
            count: 400,
            window: 100
        ),
    ]

    @Test(arguments: Self.lines)
    func everyMessageArrivesAndIsSettled(_ line: Line) async throws { try await Self.check(line) }

    @Test func everyMessageArrivesOverThePlainLoopback() async throws { try await Self.check(Self.loopback) }

    private static func check(_ line: Line) async throws {
        let log = LogLines()
        let looks = Looks()
        var made = Dialogue()
        made.count = line.count
        made.padding = 0
        made.window = line.window
        made.sendLimit = 1_000
        made.logger = log.logger
        made.observe = { await looks.take(of: $0, window: line.window, sendLimit: 1_000) }
        let dialogue = made
        let start = ContinuousClock.now
        let records = try await within("the dialogue", limit: .seconds(120)) {
            try await dialogue.run([.toServer: line.plan, .toClient: line.plan])
        }
        var sums = MessageSums()
        for (side, other) in [(dialogue.client, dialogue.server), (dialogue.server, dialogue.client)] {
            #expect(side.ended == [nil] && side.sent.disagreements(with: other.got) == [])
            #expect(other.got.decisions.count == line.count)
            #expect(side.sent.sums.counts[.unsettled] == nil && side.sent.sums.counts[.unsent] == nil)
            sums += side.sent.sums
        }
        #expect(looks.faults == [] && looks.count > 4)
        #expect(log.text.contains("connection opened"))
        #expect(!log.text.contains("makes no progress"))
        try await waitUntil("nothing is left: \(dialogue.remains.left)") { dialogue.remains.left.isEmpty }
        let bytes = records.values.reduce(0) { $0 + $1.forwarded }
        print(
            "\(line.testDescription): \(sums), \(bytes) bytes in \(ContinuousClock.now - start); \(looks.count) snapshots"
        )
    }

    /// Snapshots of the connections while they work.
    private final class Looks: Sendable {
        private let state = Mutex((count: 0, faults: [String]()))

        var count: Int { self.state.withLock { $0.count } }
        /// The violated limits.
        var faults: [String] { self.state.withLock { $0.faults } }

        func take(of connection: AMQPConnection, window: Int, sendLimit: Int) async {
            while !Task.isCancelled, let snapshot = try? await connection.snapshot() {
                var faults: [String] = []
                func check(_ holds: Bool, _ what: String) { if !holds { faults.append("\(what): \(snapshot)") } }
                // The bytes in Proton and in the channel, including frame headers.
                check(snapshot.socket.peak.bytes <= 131_072 + 65_536, "the socket's bytes")
                for session in snapshot.sessions {
                    check(session.outgoing.peak.bytes <= sendLimit, "the session's send limit")
                    check(session.incoming.peak.bytes <= 8_192 + 512, "the session's capacity")
                    for link in session.links where !link.isSender {
                        check(link.credit + link.messages <= window, "the receiver's window")
                        check(link.unsettled <= window, "the receiver's unsettled messages")
                    }
                }
                self.state.withLock { state in
                    state.count += 1
                    state.faults += faults
                }
                try? await Task.sleep(for: .milliseconds(10))
            }
        }
    }
}
