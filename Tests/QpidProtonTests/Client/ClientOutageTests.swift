// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// A long outage, in virtual time.
struct ClientOutageTests {
    private static let limit = 64 * 1_024

    /// Returns a queue that has lost its link with 20 messages in doubt.
    private func lostQueue() -> ReplayQueue<Int> {
        var queue = ReplayQueue<Int>(.init(bytes: Self.limit))
        queue.begin()
        let keys = (0..<20).map { queue.accept($0, bytes: 1_000) }
        while queue.next(at: .zero) != nil {}
        queue.end()
        for key in keys { queue.comeBack(key, .inDoubt) }
        return queue
    }

    /// 1,000 s without a connection, while a sender offers a message every 10 ms.
    @Test(arguments: [UInt64(1), 2, 3])
    func aThousandSecondsNeedNoMoreThanTheLimit(_ seed: UInt64) {
        var (queue, random) = (self.lostQueue(), SeededGenerator(seed: seed))
        var client = StateDriver.open()
        client.random = SeededGenerator(seed: seed)
        client.now = .seconds(100)
        var attempts = client.send(.lost(generation: 1, client.lost, isFatal: false)).count - 1
        let end = client.now + .seconds(1_000)
        var (waited, lastAttempt) = (0, client.now)
        while client.now < end {
            if let wakeUp = client.state.wakeUp, wakeUp <= client.now, !client.send(.tick).isEmpty {
                attempts += 1
                #expect(client.now - lastAttempt <= .seconds(31), "seed \(seed)")
                lastAttempt = client.now
            }
            if let running = client.state.running {
                _ = client.send(.failed(attempt: running, client.lost, isFatal: false))
            }
            let bytes = Int.random(in: 1...4_000, using: &random)
            if queue.hasRoom(for: bytes) {
                let expires = Int.random(in: 0..<10, using: &random) > 0
                _ = queue.accept(0, bytes: bytes, deadline: expires ? client.now + .seconds(5) : nil)
            } else {
                waited += 1
                _ = queue.expire(at: client.now)
            }
            _ = queue.takeFinished()
            #expect(queue.used <= Self.limit && queue.counts.addUp, "seed \(seed)")
            client.now += .milliseconds(10)
        }
        // The queue was full nearly all the time, and kept the messages in doubt.
        #expect(waited > 90_000 && queue.peak <= Self.limit && queue.doubtful == 20, "seed \(seed): \(waited)")
        #expect(queue.counts.expired > 100, "seed \(seed): \(queue.counts)")
        // Full jitter up to 30 s keeps the number of attempts between a storm and a standstill.
        #expect((30...200).contains(attempts), "seed \(seed): \(attempts) attempts")
    }
}
