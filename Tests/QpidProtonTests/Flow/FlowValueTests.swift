// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// Credit, windows, slots and counts.
@Suite struct FlowValueTests {
    @Test func creditIsToppedUpAtAQuarter() {
        for size in 1...9 {
            var window = CreditWindow(.messages(size))
            #expect(window.topUp() == size)
            #expect(window.topUp() == 0)
            for count in 1...size {
                let arrived = window.arrive()
                #expect(arrived)
                #expect(window.topUp() == 0, "nothing is free: \(count) of \(size)")
            }
            let withoutCredit = window.arrive()
            #expect(!withoutCredit)
            let quarter = max(1, size / 4)
            for count in 1...quarter {
                window.free(1, bytes: 0)
                #expect(window.topUp() == (count == quarter ? quarter : 0))
            }
        }
    }

    @Test func aStarvedWindowGrantsItsFreePlaces() {
        var window = CreditWindow(.messages(10))
        _ = window.topUp()
        for _ in 0..<10 { _ = window.arrive() }
        window.starve()
        #expect(window.topUp() == 0)
        window.free(1, bytes: 0)
        #expect(window.topUp() == 1)
        _ = window.arrive()
        window.free(1, bytes: 0)
        #expect(window.topUp() == 0)
    }

    @Test func grantsAreClamped() {
        var window = CreditWindow(.manual)
        #expect(window.topUp() == 0)
        #expect(window.grant(-5) == 0)
        #expect(window.grant(.min) == 0)
        #expect(window.grant(7) == 7)
        #expect(window.grant(.max) == Int(Int32.max) - 7)
        #expect(window.grant(1) == 0)
        window.drained()
        #expect(window.outstanding == 0)
        window.free(100, bytes: 100)
        #expect(window.held == 0)
        window.returned(5)
        #expect(window.outstanding == 0)
        #expect(CreditWindow(.messages(-3)).policy == .messages(1))
    }

    @Test func noTopUpWhileADrainIsUnderWay() {
        var window = CreditWindow(.messages(4))
        _ = window.topUp()
        window.pause()
        window.drained()
        #expect(window.topUp() == 0)
        window.resume()
        #expect(window.topUp() == 4)
    }

    @Test func creditInRandomSteps() {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let size = Int.random(in: 1...40, using: &random)
            var window = CreditWindow(.messages(size))
            var credit = 0
            var held = 0
            for _ in 0..<300 {
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1:
                    let arrived = window.arrive()
                    #expect(arrived == (credit > 0))
                    if arrived { (credit, held) = (credit - 1, held + 1) }
                case 2 where held > 0:
                    let count = Int.random(in: 1...held, using: &random)
                    window.free(count, bytes: 0)
                    held -= count
                case 3 where Bool.random(using: &random):
                    window.drained()
                    credit = 0
                case 4 where credit > 0:
                    let back = Int.random(in: 1...credit, using: &random)
                    window.returned(back)
                    credit -= back
                default: window.starve()
                }
                let granted = window.topUp()
                #expect(granted >= 0)
                credit += granted
                #expect(window.outstanding == credit)
                #expect(window.held == held)
                #expect(credit + held <= size)
                // The window never stalls while no credit is outstanding and half of the places are free.
                #expect(credit > 0 || size - held < size - size / 2)
            }
        }
    }

    @Test func theRemoteWindowHasASign() {
        var window = RemoteWindow(initialOutgoingID: 0xFFFF_FFFC, incomingWindow: 10)
        #expect(window.available == 10)
        window.sent(6)
        #expect(window.available == 4)
        #expect(window.nextOutgoingID == 2)
        // The peer has seen three of the six transfers, and accepts one more.
        window.update(nextIncomingID: 0xFFFF_FFFF, incomingWindow: 1)
        #expect(window.available == -2)
        window.update(nextIncomingID: 2, incomingWindow: 0)
        #expect(window.available == 0)
        window.update(nextIncomingID: 2, incomingWindow: .max)
        #expect(window.available > 1_000_000)
        window.update(nextIncomingID: nil, incomingWindow: 10)
        #expect(window.available == 4)
    }

    @Test func staleKeysFindNothing() {
        var map = SlotMap<String>()
        let first = map.insert("a")
        let second = map.insert("b")
        #expect(map.remove(first) == "a")
        #expect(map.remove(first) == nil)
        let third = map.insert("c")
        #expect(map[first] == nil)
        map[first] = "x"
        #expect(map[first] == nil)
        #expect(map[third] == "c")
        map[third]? += "!"
        #expect(map[third] == "c!")
        #expect(map[second] == "b")
        let known = map.insert { "\($0.bitPattern)" }
        #expect(SlotKey(bitPattern: UInt(known) ?? 1) != third)
        #expect(map[SlotKey(bitPattern: UInt(known) ?? 1)] == known)
        for key in [first, second, third] {
            #expect(key.bitPattern != 0)
            #expect(SlotKey(bitPattern: key.bitPattern) == key)
        }
        for key in [second, third] {
            map.remove(key)
            #expect(map[key] == nil)
        }
    }

    @Test func byteCounts() {
        #expect(AMQPByteCount(-1).bytes == 0)
        #expect(AMQPByteCount.kibibytes(3).bytes == 3_072)
        #expect(AMQPByteCount.gibibytes(.max).bytes == .max)
        #expect(AMQPByteCount.mebibytes(-4).bytes == 0)
        #expect("\(AMQPByteCount.mebibytes(64))" == "64 MiB")
        #expect("\(AMQPByteCount(1_025))" == "1025 B")
        #expect("\(AMQPByteCount(0))" == "0 B")
        #expect(AMQPSendLimit(high: 100).low == 88)
        #expect(AMQPSendLimit(high: 100, low: 400).low == 100)
    }
}
