// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Testing

@testable import QpidProton

/// The timers of a client.
@Suite(.deadline)
struct ClientClockTests {
    @Test func aSleepEndsAtItsTime() async throws {
        let clock = ClientClock()
        let start = clock.now
        try await clock.sleep(for: .milliseconds(20))
        #expect(clock.now - start >= .milliseconds(19))
        // A sleep until a time in the past ends at once.
        try await clock.sleep(until: start)
    }

    @Test func aCancelledSleepEndsAtOnce() async throws {
        let clock = ClientClock()
        let sleeping = Task { try await clock.sleep(for: .seconds(3_600)) }
        sleeping.cancel()
        await #expect(throws: AMQPError.self) { try await sleeping.value }
        let limited = await withLimit(.milliseconds(10), clock) { () async throws(AMQPError) in
            try await Reply<Void>().value()
        }
        #expect(limited.isLate)
    }

    @Test func aSleepEndsWithItsLoops() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let clock = ClientClock(loops)
        let sleeping = Task { try await clock.sleep(for: .seconds(3_600)) }
        try await clock.sleep(for: .milliseconds(10))
        try await loops.shutdownGracefully()
        await #expect(throws: AMQPError.self) { try await sleeping.value }
    }
}
