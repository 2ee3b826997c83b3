// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// Random sends, settlements and losses, with a peer that writes down the messages that it reads.
@Suite(.deadline)
struct ReplayQueueModelTests {
    @Test(arguments: StateModelCase.all)
    func nothingIsLostOrOutOfOrder(run: StateModelCase) {
        // A step here is several in the queue.
        var model = ReplayModel(seed: run.seed)
        for step in 0..<run.steps / 4 {
            model.step()
            if model.failure != nil || step == run.steps / 4 - 1 { model.finish() }
            if let failure = model.failure {
                Issue.record("\(run), step \(step): \(failure)\n\(model.trace.suffix(40).joined(separator: "\n"))")
                return
            }
        }
        #expect(model.losses > run.steps / 400 && model.doubles > 10 && model.poisoned > 0)
        #expect(model.returned > run.steps / 1_000, "\(model.returned)")
    }
}

private struct ReplayModel {
    typealias Queue = ReplayQueue<Int>

    private var random: SeededGenerator
    private var queue: Queue
    private let replays: Bool
    private var now = Duration.zero
    private var nextID = 0
    /// On the link: not yet sent, and sent, in order.
    private var unsent: [(key: Queue.Key, id: Int)] = []
    /// The messages that the link accepted at once, by their sequence numbers. They have no place in the queue.
    private var direct: [UInt64: (id: Int, bytes: Int, isSettled: Bool)] = [:]
    /// The messages without a place that returned to the queue.
    private(set) var returned = 0
    private var sent: [(key: Queue.Key, id: Int)] = []
    private var hasLink = false
    /// The ids that the peer has read, in order; and those of the first arrivals.
    private var arrivals: [Int: Int] = [:]
    private var lastFirst = -1
    private var fates: [Int: String] = [:]
    private var attempts: [Int: Int] = [:]
    private(set) var losses = 0
    private(set) var poisoned = 0
    private let failures = FirstFailure()
    private(set) var trace: [String] = []

    /// The messages that arrived twice.
    var doubles: Int { self.arrivals.values.count { $0 > 1 } }

    init(seed: UInt64) {
        self.random = SeededGenerator(seed: seed)
        var limits = Queue.Limits()
        limits.bytes = 20_000
        limits.replays = seed % 4 != 0
        self.replays = limits.replays
        self.queue = Queue(limits)
    }

    var failure: String? { self.failures.text }

    private func require(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition, self.failures.text == nil { self.failures.text = text() }
    }

    private mutating func note(_ text: String) {
        self.trace.append(text)
        if self.trace.count > 200 { self.trace.removeFirst(100) }
    }

    mutating func step() {
        switch self.random.number(0...99) {
        case 0..<30: self.accept()
        case 30..<50: repeat { self.handOver() } while self.random.chance(70)
        case 50..<62: self.send()
        case 62..<80: self.settle()
        case 80..<84: self.now += .milliseconds(self.random.number(0...300))
        case 84..<87: _ = self.queue.expire(at: self.now)
        case 87..<92: self.lose()
        case 92..<98: self.attach()
        default: self.withdraw()
        }
        self.check()
    }

    private mutating func accept() {
        let bytes = self.random.size()
        if !self.queue.hasRoom(for: bytes) {
            if self.random.chance(90) { return }
            self.queue.dropOldest(for: bytes)
            guard self.queue.hasRoom(for: bytes) else { return self.queue.refuse(.dropped) }
        }
        if self.queue.isPassable, self.random.chance(80) { return self.acceptOnLink(bytes) }
        let deadline = self.random.chance(15) ? self.now + .milliseconds(self.random.number(0...400)) : nil
        _ = self.queue.accept(self.nextID, bytes: bytes, deadline: deadline, isSettled: self.random.chance(10))
        self.nextID += 1
    }

    private mutating func acceptOnLink(_ bytes: Int) {
        let sequence = self.queue.acceptOnLink(bytes: bytes)
        self.direct[sequence] = (self.nextID, bytes, self.random.chance(10))
        self.attempts[self.nextID] = 1
        self.note("\(self.nextID) to the link at once")
        self.unsent.append((Queue.Key(slot: -1, sequence: sequence), self.nextID))
        self.nextID += 1
    }

    /// Returns the key of a message on the link, and gives it a place if it has none.
    private mutating func place(_ key: Queue.Key) -> Queue.Key {
        guard let message = self.direct.removeValue(forKey: key.sequence) else { return key }
        self.returned += 1
        return self.queue.returnFromLink(
            message.id,
            sequence: key.sequence,
            bytes: message.bytes,
            isSettled: message.isSettled
        )
    }

    private mutating func handOver() {
        guard self.hasLink, let next = self.queue.next(at: self.now) else { return }
        self.note("\(next.entry.content) to the link, attempt \(next.entry.attempts)")
        if self.random.chance(10) { return self.queue.putBack(next.key) }
        self.attempts[next.entry.content] = next.entry.attempts
        self.unsent.append((next.key, next.entry.content))
    }

    private mutating func send() {
        guard self.hasLink, !self.unsent.isEmpty else { return }
        self.sent.append(self.unsent.removeFirst())
    }

    /// The peer reads a message that was sent.
    private mutating func arrive(_ id: Int) {
        if self.arrivals[id] == nil {
            self.require(id > self.lastFirst, "\(id) arrives first after \(self.lastFirst)")
            self.lastFirst = id
        } else {
            self.require(self.attempts[id] ?? 0 > 1, "\(id) arrives twice, and is not flagged")
            self.require(self.replays, "\(id) arrives twice without replay")
        }
        self.arrivals[id, default: 0] += 1
        self.note("\(id) arrives")
    }

    private mutating func settle() {
        guard self.hasLink, !self.sent.isEmpty else { return }
        // The peer reads in order, and settles in any order.
        let index = self.random.number(0...min(3, self.sent.count - 1))
        for read in self.sent.prefix(index + 1) where !self.read.contains(read.key) { self.read(read) }
        let message = self.sent.remove(at: index)
        self.read.remove(message.key)
        if self.random.chance(3) {
            guard let failed = self.queue.fail(self.place(message.key), .notSent) else {
                return self.require(false, "gone")
            }
            self.finish(message.id, "\(failed.fate)")
        } else if let direct = self.direct.removeValue(forKey: message.key.sequence) {
            if self.random.chance(50) {
                self.queue.settleOnLink(bytes: direct.bytes, .accepted)
            } else {
                self.queue.acceptedOnLink(1, bytes: direct.bytes)
            }
            self.finish(message.id, "accepted")
        } else {
            guard self.queue.settle(message.key, .accepted) != nil else { return self.require(false, "gone") }
            self.finish(message.id, "accepted")
        }
    }

    private var read: Set<Queue.Key> = []

    private mutating func read(_ message: (key: Queue.Key, id: Int)) {
        self.read.insert(message.key)
        self.arrive(message.id)
    }

    private mutating func lose() {
        guard self.hasLink else { return }
        self.hasLink = false
        self.losses += 1
        // What was sent may have been read, up to some message.
        let count = self.random.number(0...self.sent.count)
        for message in self.sent.prefix(count) where !self.read.contains(message.key) { self.read(message) }
        self.read = []
        var back = self.sent.map { ($0.key, AMQPError.Fate.inDoubt) } + self.unsent.map { ($0.key, .notSent) }
        if !self.unsent.isEmpty, self.random.chance(20) { back[self.sent.count].1 = .aborted }
        self.note("loss: \(self.sent.map(\.id)) in doubt, \(self.unsent.map(\.id)) unsent")
        // The answers come in any order, and the end of the link before or after them.
        back.shuffle(using: &self.random)
        if self.random.chance(50) { self.queue.end() }
        for (key, fate) in back { self.queue.comeBack(self.place(key), fate) }
        self.queue.end()
        self.sent = []
        self.unsent = []
    }

    private mutating func attach() {
        guard !self.hasLink else { return }
        self.require(self.queue.isAnswered, "a message is still out without a link")
        self.queue.begin()
        self.hasLink = true
    }

    private mutating func withdraw() {
        guard let last = self.unsent.last else { return }
        self.require(self.queue.withdraw(last.key) == nil, "a message on a link is withdrawn")
    }

    private mutating func finish(_ id: Int, _ fate: String) {
        self.require(self.fates[id] == nil, "\(id) has two fates: \(self.fates[id] ?? ""), \(fate)")
        self.fates[id] = fate
        self.note("\(id): \(fate)")
    }

    private mutating func check() {
        for finished in self.queue.takeFinished() {
            self.finish(finished.entry.content, "\(finished.fate)")
            if case .poison = finished.cause { self.poisoned += 1 }
            let hasArrived = self.arrivals[finished.entry.content] != nil
            self.require(
                !hasArrived || finished.fate == .inDoubt,
                "\(finished.entry.content) has arrived: \(finished.fate)"
            )
        }
        let counts = self.queue.counts
        self.require(counts.addUp, "the fates do not add up: \(counts)")
        self.require(counts.inFlight == self.sent.count + self.unsent.count, "in flight")
        self.require(self.queue.used >= 0 && (self.queue.count > 0 || self.queue.used == 0), "\(self.queue.used) bytes")
        self.require(self.queue.used <= 20_000 + 40_000 + Queue.overhead, "too many bytes")
    }

    /// Lets everything arrive, and compares.
    mutating func finish() {
        guard self.failure == nil else { return }
        self.attach()
        while self.queue.count > 0, self.failure == nil {
            while let next = self.queue.next(at: self.now) {
                self.attempts[next.entry.content] = next.entry.attempts
                self.unsent.append((next.key, next.entry.content))
            }
            self.sent += self.unsent
            self.unsent = []
            if !self.sent.isEmpty { self.settle() }
            self.check()
        }
        self.require(self.queue.used == 0 && self.queue.doubtful == 0, "bytes are left")
        self.require(self.fates.count == self.nextID, "\(self.fates.count) fates for \(self.nextID) messages")
        for (id, fate) in self.fates where fate == "accepted" {
            self.require(self.arrivals[id] != nil, "\(id) was accepted and has not arrived")
        }
    }
}
