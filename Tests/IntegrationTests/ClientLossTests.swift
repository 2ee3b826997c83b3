// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport
import Testing

/// Many consecutive losses, checked with the ids of all messages.
@Suite(.timeLimit(.minutes(10)))
struct ClientLossTests {
    /// A run: its seed and number of messages reproduce it.
    struct Run: Sendable, CustomStringConvertible {
        let seed: UInt64
        let messages: Int
        let longest: Int
        var description: String { "QPID_PROTON_CHAOS_SEED=\(self.seed) QPID_PROTON_CHAOS_MESSAGES=\(self.messages)" }

        static let all: [Run] = {
            let environment = ProcessInfo.processInfo.environment
            let isLong = environment["QPID_PROTON_LONG_TESTS"] != nil
            let messages = environment["QPID_PROTON_CHAOS_MESSAGES"].flatMap { Int($0) } ?? (isLong ? 50_000 : 4_000)
            if let seed = environment["QPID_PROTON_CHAOS_SEED"].flatMap({ UInt64($0) }) {
                return [Run(seed: seed, messages: messages, longest: isLong ? 1_000 : 150)]
            }
            return (1...2).map { Run(seed: $0, messages: messages, longest: isLong ? 1_000 : 150) }
        }()
    }

    @Test(arguments: Run.all)
    func nothingIsLostOrOutOfOrder(run: Run) async throws {
        try await withClient { client, peer, proxy in
            var senders: [AMQPClient.Sender] = []
            for address in ["a", "b"] {
                var configuration = AMQPClient.Sender.Configuration(target: AMQPTarget(address: address))
                // The same message is often first in doubt, and this test allows no message to become poison.
                configuration.poisonLimit = 1_000
                senders.append(try await client.sender(configuration))
            }
            let breaking = Task {
                var random = SeededGenerator(seed: run.seed)
                var losses = 0
                while !Task.isCancelled {
                    try? await Task.sleep(for: .milliseconds(Int.random(in: 20...run.longest, using: &random)))
                    let direction: FaultDirection = Bool.random(using: &random) ? .toServer : .toClient
                    switch Int.random(in: 0...3, using: &random) {
                    case 0: proxy.end(.cut, direction)
                    case 1: proxy.end(.halfClose, direction)
                    case 2:
                        // The line is silent for a moment, and then cut.
                        proxy.end(.blackHole, direction)
                        try? await Task.sleep(for: .milliseconds(Int.random(in: 1...10, using: &random)))
                        proxy.end(.cut, direction == .toServer ? .toClient : .toServer)
                    default: proxy.end(.reset, direction)
                    }
                    losses += 1
                }
                return losses
            }
            let accounts = try await withThrowingTaskGroup(of: Account.self) { group in
                for (index, sender) in senders.enumerated() {
                    group.addTask { try await Self.send(run.messages, to: sender, "\(index)") }
                }
                var accounts: [Account] = []
                for try await account in group { accounts.append(account) }
                return accounts
            }
            breaking.cancel()
            let losses = await breaking.value
            let arrivals = Dictionary(grouping: peer.ids, by: { $0.split(separator: "-")[0] })
            var doubles = 0
            for account in accounts {
                let ids = arrivals[Substring(account.name)] ?? []
                doubles += Self.check(account, ids, "\(run)")
            }
            print(
                "\(run): \(2 * run.messages) messages, \(losses) faults, \(peer.connections.count) connections, \(doubles) twice"
            )
            #expect(peer.connections.count > 3, "\(run): too few losses")
        }
    }

    private struct Account {
        let name: String
        var trackers: [AMQPClient.Tracker] = []
    }

    private static func send(_ count: Int, to sender: AMQPClient.Sender, _ name: String) async throws -> Account {
        var account = Account(name: name)
        for id in 0..<count {
            account.trackers.append(try await sender.enqueue(AMQPMessage(body: "\(name)-\(id)")))
            let fates = sender.fates
            let sum = fates.finished + fates.queued + fates.inFlight
            #expect(fates.handedOver == id + 1 && sum == id + 1, "the fates do not add up: \(fates)")
            if id % 50 == 49 { try await Task.sleep(for: .milliseconds(2)) }
        }
        for tracker in account.trackers { _ = try? await tracker.outcome() }
        #expect(sender.fates.accepted == count && sender.unsettledBytes == 0)
        return account
    }

    /// Compares the fates with the arrivals. Returns the number of messages that arrived twice.
    private static func check(_ account: Account, _ ids: [String], _ run: String) -> Int {
        var counts: [Int: Int] = [:]
        var lastFirst = -1
        var disorder = 0
        for id in ids {
            guard let number = Int(id.split(separator: "-")[1]) else { continue }
            counts[number, default: 0] += 1
            if counts[number] == 1 {
                if number < lastFirst { disorder += 1 }
                lastFirst = number
            }
        }
        #expect(disorder == 0, "\(run): \(disorder) first arrivals out of order")
        var (lost, unflagged, doubles) = (0, 0, 0)
        for (number, tracker) in account.trackers.enumerated() {
            let arrived = counts[number] ?? 0
            switch tracker.result {
            case .success(.accepted): if arrived == 0 { lost += 1 }
            case let other: Issue.record("\(run): message \(number): \(String(describing: other))")
            }
            if arrived > 1 {
                doubles += 1
                if tracker.attempts < 2 { unflagged += 1 }
            }
        }
        #expect(lost == 0, "\(run): \(lost) accepted messages never arrived")
        #expect(unflagged == 0, "\(run): \(unflagged) messages arrived twice and are not flagged")
        return doubles
    }
}

/// The SplitMix64 generator, which returns the same values for the same seed.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
