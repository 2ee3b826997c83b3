// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The choice of a session's channel number.
struct ChannelRestTests {
    private static let rest = ChannelRest.rest

    @Test func theLowestUnusedNumberIsUsed() {
        var rest = ChannelRest()
        #expect(rest.choose(at: 0, channels: 4) { _ in false } == .take(0))
        #expect(rest.choose(at: 0, channels: 4) { $0 < 2 } == .take(2))
        rest.ended(0, at: 0)
        rest.endedHere(1)
        #expect(rest.choose(at: 0, channels: 4) { _ in false } == .take(2))
        #expect(rest.choose(at: Self.rest - 1, channels: 4) { _ in false } == .take(2))
        #expect(rest.choose(at: Self.rest, channels: 4) { _ in false } == .take(0))
    }

    @Test func theLongestRestedNumberIsUsedWhileAllRest() {
        var rest = ChannelRest()
        let times: [Int64] = [50, 10, 30]
        for (channel, time) in times.enumerated() { rest.ended(UInt16(channel), at: time) }
        let least = ChannelRest.leastRest
        #expect(rest.choose(at: 60, channels: 3) { _ in false } == .wait(least - 50))
        #expect(rest.choose(at: 10 + least, channels: 3) { _ in false } == .take(1))
        #expect(rest.choose(at: 10 + least, channels: 3) { $0 == 1 } == .wait(20))
    }

    @Test func aNumberIsNotReusedBeforeThePeerHasEndedItsSession() {
        var rest = ChannelRest()
        rest.endedHere(0)
        rest.ended(1, at: 0)
        #expect(rest.choose(at: 1 << 40, channels: 2) { _ in false } == .take(1))
        #expect(rest.choose(at: 1 << 40, channels: 2) { $0 == 1 } == .wait(ChannelRest.leastRest))
        rest.ended(0, at: 1 << 40)
        #expect(rest.choose(at: 1 << 40, channels: 1) { _ in false } == .wait(ChannelRest.leastRest))
    }

    @Test func numbersThatHaveRestedAreForgotten() {
        var rest = ChannelRest()
        rest.endedHere(0)
        for channel in UInt16(1)...100 { rest.ended(channel, at: Int64(channel)) }
        rest.expire(at: Self.rest + 50)
        #expect(!rest.isEmpty)
        rest.ended(0, at: 7)
        rest.expire(at: Self.rest + 100)
        #expect(rest.isEmpty)
    }
}
