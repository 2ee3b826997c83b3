// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

/// A dialogue that is cut or damaged at every place. The error is right, no object remains, and each message has one
/// fate.
@Suite(.serialized, .timeLimit(.minutes(30)))
struct NetworkCutTests {
    private static let isLong = ProcessInfo.processInfo.environment["QPID_PROTON_LONG_TESTS"] != nil

    private struct Case: Sendable, CustomStringConvertible {
        var direction: FaultDirection
        var plan: FaultPlan
        var patience: Duration?
        var settles = false

        var description: String {
            "\(self.direction) \(self.plan.ending.map { "\($0.1) at \($0.offset)" } ?? "flips \(self.plan.flips)")"
        }
    }

    /// Returns the bytes of an undisturbed dialogue.
    private static func recording(settles: Bool = false) async throws -> [FaultDirection: [UInt8]] {
        let plan = FaultPlan.with { $0.records = true }
        var made = Dialogue()
        made.settles = settles
        let dialogue = made
        let records = try await dialogue.run([.toServer: plan, .toClient: plan])
        for (side, other) in [(dialogue.client, dialogue.server), (dialogue.server, dialogue.client)] {
            #expect(side.ended == [nil] && side.sent.disagreements(with: other.got) == [])
            let counts: [SendAccount.Fate: Int] =
                settles && side === dialogue.client ? [.settled: 9] : [.accepted: 5, .rejected: 2, .released: 2]
            #expect(side.sent.sums == MessageSums(offered: 9, counts: counts))
        }
        return records.mapValues(\.bytes)
    }

    /// Returns the offsets at which the headers and frames of a stream begin, and the end of the stream.
    private static func boundaries(_ bytes: [UInt8]) -> [Int] {
        var offsets = [0]
        while let offset = offsets.last, offset + 8 <= bytes.count {
            let word = bytes[offset..<offset + 4]
            let isHeader = word.elementsEqual("AMQP".utf8)
            offsets.append(offset + (isHeader ? 8 : word.reduce(0) { $0 << 8 | Int($1) }))
        }
        return offsets
    }

    @Test func theRecordingContainsWholeFrames() async throws {
        for (direction, bytes) in try await Self.recording() {
            #expect(Self.boundaries(bytes).last == bytes.count, "\(direction)")
            #expect(Self.boundaries(bytes).count > 25, "\(direction)")
        }
    }

    @Test func aCutAtAnyPlaceLeavesEveryMessageOneFate() async throws {
        try await self.run("cut") { bytes in
            let near = Self.boundaries(bytes).flatMap { [$0 - 1, $0, $0 + 1] }
            let places = Self.isLong ? Array(0...bytes.count) : near
            return Set(places).filter { (0...bytes.count).contains($0) }.map { .ending(.cut, at: $0) }
        }
    }

    @Test(arguments: [FaultPlan.Ending.halfClose, .reset])
    func anEndAtAnyFrameLeavesEveryMessageOneFate(_ ending: FaultPlan.Ending) async throws {
        try await self.run("\(ending)") { Self.boundaries($0).map { .ending(ending, at: $0) } }
    }

    /// A message sent settled has its fate once it is written. Before that, the peer may already have received it.
    @Test func aCutAtAnyFrameLeavesEverySettledMessageOneFate() async throws {
        try await self.run("cut, with settled messages", settles: true) { bytes in
            let near = Self.isLong ? [-1, 0, 1] : [0]
            let places = Self.boundaries(bytes).flatMap { place in near.map { place + $0 } }
            return places.filter { $0 >= 0 }.map { .ending(.cut, at: $0) }
        }
    }

    /// Damaged bytes may have another valid meaning, so the sides may disagree about a message. It still has one fate.
    @Test func aFlippedBitAtAnyPlaceLeavesEveryMessageOneFate() async throws {
        try await self.run("damaged", patience: Self.isLong ? .milliseconds(500) : .seconds(2)) { bytes in
            stride(from: 0, to: bytes.count, by: Self.isLong ? 1 : 41).map { offset in
                .with { $0.flips = [offset: 1 << UInt8(offset % 8)] }
            }
        }
    }

    // MARK: Running

    private func run(
        _ name: String,
        patience: Duration? = nil,
        settles: Bool = false,
        _ plans: ([UInt8]) -> [FaultPlan]
    ) async throws {
        var cases: [Case] = []
        for (direction, bytes) in try await Self.recording(settles: settles) {
            cases += plans(bytes).map {
                Case(direction: direction, plan: $0, patience: patience, settles: settles)
            }
        }
        let tally = Tally(cases)
        let start = ContinuousClock.now
        await withTaskGroup { group in
            // Cases that wait for a timer need no processor, so many of them run at once.
            for _ in 0..<(patience == nil ? 2 : 24) {
                group.addTask {
                    while let one = tally.next() {
                        do {
                            try await Self.check(one, tally)
                        } catch {
                            Issue.record("\(one): \(error)")
                        }
                    }
                }
            }
        }
        #expect(tally.sums.addUp)
        // The number of bytes varies, so a short dialogue may end before the planned place.
        #expect(tally.disturbed * 4 >= cases.count * (patience == nil ? 3 : 0) && tally.disturbed > 0)
        let count = "\(cases.count) cases, \(tally.disturbed) of them disturbed"
        print("\(name): \(count), in \(ContinuousClock.now - start): \(tally.sums)")
        for (end, count) in tally.ends.sorted(by: { $0.value > $1.value }) { print("  \(count) × \(end)") }
    }

    /// The remaining cases, and the results of the finished ones.
    private final class Tally: Sendable {
        private let state: Mutex<(cases: ArraySlice<Case>, sums: MessageSums, ends: [String: Int], disturbed: Int)>

        init(_ cases: [Case]) { self.state = Mutex((cases[...], MessageSums(), [:], 0)) }

        var sums: MessageSums { self.state.withLock { $0.sums } }
        /// The number of dialogues that were disturbed at the planned place.
        var disturbed: Int { self.state.withLock { $0.disturbed } }
        var ends: [String: Int] { self.state.withLock { $0.ends } }

        func next() -> Case? { self.state.withLock { $0.cases.popFirst() } }

        func add(_ dialogue: Dialogue, isDisturbed: Bool) {
            self.state.withLock { state in
                state.disturbed += isDisturbed ? 1 : 0
                for side in [dialogue.client, dialogue.server] {
                    state.sums += side.sent.sums
                    for end in side.ended { state.ends[end.map { "\($0)" } ?? "none", default: 0] += 1 }
                }
            }
        }
    }

    private static func check(_ one: Case, _ tally: Tally) async throws {
        var made = Dialogue()
        made.patience = one.patience
        made.settles = one.settles
        let dialogue = made
        let records = try await within("\(one)", limit: .seconds(120)) {
            try await dialogue.run([one.direction: one.plan])
        }
        let (client, server) = (dialogue.client, dialogue.server)
        // The listener returns only opened connections.
        #expect(client.ended.count == 1 && server.ended.count <= 1, "\(one)")
        var isDisturbed = true
        if let place = one.plan.flips.keys.first {
            isDisturbed = records[one.direction].map { $0.received > place } ?? false
            #expect(client.sent.isComplete && server.sent.isComplete, "\(one)")
            #expect(client.sent.faults + server.sent.faults == [], "\(one)")
        } else {
            isDisturbed = records[one.direction]?.hasEnded ?? false
            #expect(client.sent.disagreements(with: server.got) == [], "\(one)")
            #expect(server.sent.disagreements(with: client.got) == [], "\(one)")
            // A timer would report another condition, so the sides have noticed the loss at once.
            let errors = (client.ended + server.ended).compactMap(\.self) + client.sent.errors + server.sent.errors
            // A reset before the first byte may make the connect itself fail.
            let mayRefuse = one.plan.ending?.offset == 0
            let isLoss = { (error: AMQPError) in
                error.condition == .connectionLost || mayRefuse && error.condition == .connectFailed
            }
            #expect(errors.allSatisfy(isLoss), "\(one): \(errors)")
            if !isDisturbed { #expect(errors == [] && client.sent.offered == dialogue.count, "\(one): \(errors)") }
        }
        try await waitUntil("nothing is left, of \(one): \(dialogue.remains.left)", within: .seconds(10)) {
            dialogue.remains.left.isEmpty
        }
        tally.add(dialogue, isDisturbed: isDisturbed)
    }
}
