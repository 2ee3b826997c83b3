// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The time after which a connection is lost because no one acknowledges its bytes.
struct AcknowledgementWatchTests {
    private var watch = AcknowledgementWatch(limit: .seconds(10))

    private mutating func expect(
        _ isLost: Bool,
        _ unacknowledged: UInt32,
        _ retransmits: UInt8,
        at time: Duration,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let found = self.watch.look(unacknowledged: unacknowledged, retransmits: retransmits, at: time)
        #expect(found == isLost, "at \(time)", sourceLocation: sourceLocation)
    }

    @Test mutating func bytesThatAreSentAgainForTooLongAreALoss() {
        for second in 0..<10 {
            self.expect(false, 3, UInt8(1 + second / 2), at: .seconds(second))
        }
        self.expect(true, 3, 6, at: .seconds(10))
    }

    @Test mutating func anAcknowledgementRestartsTheLimit() {
        self.expect(false, 3, 5, at: .seconds(0))
        // One segment was acknowledged, and another is already retransmitted.
        self.expect(false, 1, 1, at: .seconds(9))
        self.expect(false, 1, 2, at: .seconds(12))
        self.expect(false, 0, 0, at: .seconds(15))
        self.expect(false, 1, 1, at: .seconds(20))
        self.expect(false, 1, 1, at: .seconds(29))
        self.expect(true, 1, 1, at: .seconds(30))
    }

    /// A peer that does not read still answers each window probe, so nothing is unacknowledged.
    @Test mutating func aClosedWindowIsNoLoss() {
        for minute in 0..<60 {
            self.expect(false, 0, 4, at: .seconds(minute * 60))
        }
    }

    /// With the client's idle timeout of 15 s: the first bytes, the two checks around the limit, and the limit.
    @Test func theDefaultsOfTheClientAreWithinTwentySeconds() {
        let idle = AMQPClient.Configuration().connection.idleTimeout ?? .zero
        let watch = AcknowledgementWatch(limit: idle)
        #expect(idle == .seconds(15) && idle + watch.interval * 2 + .seconds(2) <= .seconds(20))
    }
}
