// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import QpidProton
import Synchronization

/// The state that both sides of the soak share: budgets, the pace, and all counts.
final class SoakWorld: Sendable {
    struct Total: Sendable {
        var sums = SoakAccount.Sums()
        var connections = 0
        var failedConnects = 0
        var links = 0
        /// The receivers' decisions about unsettled messages.
        var decided: [SoakAccount.Fate: Int] = [:]

        /// The outcomes that senders received and no receiver decided.
        var faults: [String] {
            [SoakAccount.Fate.accepted, .rejected].compactMap { fate in
                let (told, made) = (self.sums.counts[fate] ?? 0, self.decided[fate] ?? 0)
                return told > made ? "\(told) messages were reported as \(fate), \(made) were decided as such" : nil
            }
        }
    }

    /// An object that must be released at the end.
    private struct Living: Sendable {
        let isAlive: @Sendable () -> Bool
    }

    /// The budget for sending: small enough to be full at times, and large enough for a few messages of 1 MiB at once.
    let sending = AMQPMemoryBudget(limit: .mebibytes(2))
    let receiving = AMQPMemoryBudget(limit: .mebibytes(3))
    let isStopping = Atomic(false)
    let tasks = Atomic(0)
    /// The factor for all pauses in thousandths, so that the load stays within its share of a core.
    let slowness = Atomic(1_000)
    private let random: Mutex<SeededRandom>
    private let living = Mutex<[Living]>([])
    private let connections = Mutex<[@Sendable () -> AMQPConnection?]>([])
    private let total = Mutex(Total())

    static let small = SoakWorld.encoded(200)
    static let large = SoakWorld.encoded(1_048_576)

    init(seed: UInt64) {
        self.random = Mutex(SeededRandom(seed: seed))
    }

    private static func encoded(_ size: Int) -> ByteBuffer {
        (try? AMQPMessage(body: ByteBuffer(repeating: 0x5a, count: size)).encoded()) ?? ByteBuffer()
    }

    var configuration: AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.sendBudget = self.sending
        configuration.receiveBudget = self.receiving
        configuration.idleTimeout = .seconds(4)
        configuration.connectTimeout = .seconds(4)
        configuration.openTimeout = .seconds(4)
        configuration.operationTimeout = .seconds(4)
        return configuration
    }

    // MARK: Chance and time

    func chance(_ part: Double) -> Bool { self.random.withLock { Double.random(in: 0..<1, using: &$0) < part } }
    func number(_ range: ClosedRange<Int>) -> Int { self.random.withLock { Int.random(in: range, using: &$0) } }

    /// Sleeps for a random time from 50 to 150 % of `milliseconds`, or longer if the load is too high.
    func pause(_ milliseconds: Int) async {
        let time = self.number(milliseconds / 2...milliseconds * 3 / 2) * self.slowness.load(ordering: .relaxed) / 1_000
        try? await Task.sleep(for: .milliseconds(time))
    }

    // MARK: Counting

    var totals: Total { self.total.withLock { $0 } }
    func count(_ body: (inout Total) -> Void) { self.total.withLock { body(&$0) } }

    /// Runs a part of the load, and counts it while it runs.
    func run(_ body: () async -> Void) async {
        self.tasks.add(1, ordering: .relaxed)
        await body()
        self.tasks.subtract(1, ordering: .relaxed)
    }

    func watch(_ connection: AMQPConnection) {
        self.add(connection)
        self.connections.withLock { $0.append { [weak connection] in connection } }
        self.count { $0.connections += 1 }
    }

    func watch(_ link: some AMQPLink & AnyObject) {
        self.add(link)
        self.count { $0.links += 1 }
    }

    private func add(_ object: some AnyObject & Sendable) {
        self.living.withLock { $0.append(Living { [weak object] in object != nil }) }
    }

    /// Returns the number of connections and links that are not released.
    func objects() -> Int {
        self.living.withLock { living in
            living.removeAll { !$0.isAlive() }
            return living.count
        }
    }

    /// Returns the connections that are not released.
    func open() -> [AMQPConnection] {
        self.connections.withLock { connections in
            connections.removeAll { $0() == nil }
            return connections.compactMap { $0() }
        }
    }

    /// Adds the account of an ended connection when every fate is known. Fails the run if a fate stays unknown.
    func close(_ account: SoakAccount) async {
        let deadline = ContinuousClock.now + .seconds(10)
        while !account.sums.addUp, account.sums.faults.isEmpty, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))
        }
        var sums = account.sums
        if !sums.addUp, sums.faults.isEmpty { sums.faults.append("a connection's account: \(sums.text)") }
        self.count { $0.sums += sums }
    }
}
