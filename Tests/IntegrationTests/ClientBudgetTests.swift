// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// A send budget that clients and connections share, with losses of connections.
@Suite(.timeLimit(.minutes(3)))
struct ClientBudgetTests {
    private static let overhead = 256
    private let body = [UInt8](repeating: 7, count: 700)

    /// Unsettled messages count once, also while the link holds them.
    @Test func aMessageCountsOnceFromAcceptanceToSettlement() async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        try await withClient {
            $0.connection.sendBudget = budget
        } _: { client, peer, proxy in
            peer.withholdCredit(true)
            peer.settle(false)
            let sender = try await client.sender(to: "q")
            try await waitUntil("the link") { peer.receivers.count == 1 }
            for _ in 0..<10 { try await sender.enqueue(AMQPMessage(body: self.body)) }
            let (link, kept) = (try #require(sender.link), sender.unsettledBytes)
            #expect(link.outgoingBytes.bytes == kept.bytes - 10 * Self.overhead && budget.used == kept)
            peer.receivers[0].grant(credit: 10)
            try await waitUntil("all messages") { peer.arrivals.count == 10 && link.outgoingBytes == 0 }
            #expect(budget.used == kept && sender.unsettledBytes == kept)
            // The bytes of another link on the connection count in addition.
            let session = try await #require(client.connection).openSession()
            let other = try await session.openSender(to: "other")
            try await other.enqueue(AMQPMessage(body: self.body))
            try await waitUntil("its bytes") { other.outgoingBytes > 0 }
            #expect(budget.used.bytes == kept.bytes + other.outgoingBytes.bytes)
            for arrival in peer.arrivals { arrival.delivery.accept() }
            try await waitUntil("the outcomes") { sender.unsettledBytes == 0 }
            #expect(budget.used == other.outgoingBytes)
        }
        try await waitUntil("an empty budget") { budget.used == 0 }
    }

    @Test func messagesOfAnOutageStayWithinTheBudget() async throws {
        let budget = AMQPMemoryBudget(limit: .kibibytes(16))
        try await withClient {
            $0.connection.sendBudget = budget
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            let full = try await failure(of: "the last message") {
                for _ in 0..<1_000 { try sender.trySend(AMQPMessage(body: self.body)) }
            }
            #expect(full.blockedBy == [.memoryBudget, .closed] && budget.used <= .kibibytes(16))
            // A connection of the same budget waits until the client has returned its bytes.
            var configuration = AMQPConnection.Configuration()
            configuration.sendBudget = budget
            try await AMQPConnection.withConnection(to: peer.url, configuration: configuration) { connection in
                let plain = try await connection.openSession().openSender(to: "plain")
                let message = AMQPMessage(body: [UInt8](repeating: 7, count: 2_000))
                let refused = try await failure(of: "the plain message") { try plain.trySend(message) }
                #expect(refused.blockedBy.first == .memoryBudget)
                let sending = Task { try await plain.send(message) }
                proxy.endOutage()
                #expect(try await within("the plain message") { try await sending.value } == .accepted)
            }
            try await waitUntil("the outcomes") { sender.unsettledBytes == 0 }
            #expect(budget.used == 0 && budget.peak <= .kibibytes(16))
        }
    }

    @Test func aFullLinkDoesNotHoldTheTurnOfOtherConnections() async throws {
        let charge = self.body.count + 8 + Self.overhead
        let budget = AMQPMemoryBudget(limit: AMQPByteCount(4 * charge + 100), low: AMQPByteCount(3 * charge + 100))
        try await withClient {
            $0.connection.sendBudget = budget
        } _: { client, peer, proxy in
            var configuration = AMQPClient.Configuration()
            configuration.connection.sendBudget = budget
            try await AMQPClient.withClient(url: peer.url, configuration: configuration) { other in
                let message = AMQPMessage(body: self.body)
                let free = try await other.sender(to: "free")
                var settings = AMQPClient.Sender.Configuration(target: "full")
                settings.link.sendLimit = AMQPSendLimit(high: .bytes(1_000))
                let full = try await client.sender(settings)
                peer.settle(false)
                peer.withholdCredit(true)
                proxy.beginOutage()
                try await waitUntil("the loss") { full.link == nil }
                for _ in 0..<2 { try await full.enqueue(message) }
                for _ in 0..<2 { try await free.enqueue(message) }
                try await waitUntil("two messages") { peer.arrivals.count == 2 }
                let first = Task { try await full.enqueue(message) }
                try await Task.sleep(for: .milliseconds(50))
                let second = Task { try await free.send(message) }
                proxy.endOutage()
                // The link has no credit, so it is full with the first message.
                try await waitUntil("a full link") { full.link.map { $0.outgoingBytes > 0 } ?? false }
                peer.settle(true)
                for arrival in peer.arrivals { arrival.delivery.accept() }
                #expect(try await within("the other connection") { try await second.value } == .accepted)
                _ = try await within("the turn") { try await first.value }
                peer.receivers[2].grant(credit: 10)
                try await waitUntil("the outcomes") { full.fates.accepted == 3 && free.fates.accepted == 3 }
            }
        }
        try await waitUntil("an empty budget") { budget.used == 0 }
    }

    /// Kept messages leave room to read their outcomes.
    @Test(arguments: [false, true])
    func aBudgetForBothDirectionsNeverStopsTheReads(_ isClient: Bool) async throws {
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        try await withClient { configuration in
            configuration.connection.sendBudget = budget
            configuration.connection.receiveBudget = budget
        } _: { client, peer, proxy in
            peer.withholdCredit(true)
            let sender = try await client.sender(to: "q")
            let plain = try await #require(client.connection).openSession().openSender(to: "q")
            try await waitUntil("the links") { peer.receivers.count == 2 }
            let message = AMQPMessage(body: [UInt8](repeating: 7, count: 7_000))
            let sending = Task {
                for _ in 0..<300 {
                    if isClient {
                        try await sender.enqueue(message)
                    } else {
                        try await plain.enqueue(message)
                    }
                }
            }
            try await waitUntil("a full budget") { budget.used.bytes > budget.low.bytes - 16_000 }
            if isClient {
                // The client keeps the messages until it is connected again.
                proxy.end(.cut, .toServer)
                try await waitUntil("the next link") { peer.receivers.count == 3 && sender.link != nil }
            }
            peer.receivers[isClient ? 2 : 1].grant(credit: 300)
            try await within("all messages") { try await sending.value }
            try await waitUntil("the outcomes") { sender.unsettledBytes == 0 && peer.arrivals.count == 300 }
            #expect(budget.peak <= .mebibytes(1))
        }
        try await waitUntil("an empty budget") { budget.used == 0 }
    }

    /// The fates result from losses, expiries, poison, drops, cancellations and closes.
    @Test func theBudgetIsEmptyAfterEveryFate() async throws {
        let budget = AMQPMemoryBudget(limit: .kibibytes(128))
        let ends = Mutex<[AMQPClient.Fates]>([])
        try await withClient {
            $0.connection.sendBudget = budget
        } _: { client, peer, proxy in
            var random = SplitMix(seed: 7)
            var lasting = AMQPClient.Sender.Configuration(target: "a")
            lasting.poisonLimit = 2
            var dropping = AMQPClient.Sender.Configuration(target: "b")
            dropping.link.overflow = .dropOldest
            dropping.onLoss = .fail
            let senders = [try await client.sender(lasting), try await client.sender(dropping)]
            // Each fate once, and then at random.
            let message = AMQPMessage(body: self.body)
            for sender in senders { try await sender.send(message) }
            peer.settle(false)
            let doubtful = try await senders[1].enqueue(message)
            try await waitUntil("the message") { peer.arrivals.count == 3 }
            proxy.beginOutage()
            let doubt = try await failure(of: "the message in doubt") { try await doubtful.outcome() }
            let late = try await failure(of: "the late message") {
                try await senders[0].send(message, options: .init(expiresAfter: .milliseconds(1)))
            }
            #expect(doubt.fate == .inDoubt && late.fate == .expired)
            for _ in 0..<1_000 where senders[1].fates.dropped == 0 { try await senders[1].enqueue(message) }
            proxy.endOutage()
            let sending = senders.enumerated().map { index, sender in
                Task {
                    var number = 0
                    while !Task.isCancelled {
                        number += 1
                        let options = AMQPSendOptions(expiresAfter: number % 5 == 0 ? .milliseconds(3) : nil)
                        if number % 7 == 0 {
                            _ = try? await sender.send(message, options: options, timeout: .milliseconds(2))
                        } else if (try? await sender.enqueue(message, options: options)) == nil {
                            await Task.yield()
                        }
                        if index == 1, number % 200 == 0 { try? await Task.sleep(for: .milliseconds(1)) }
                    }
                }
            }
            for round in 0..<25 {
                peer.settle(round % 3 != 0)
                try? await Task.sleep(for: .milliseconds(Int.random(in: 5...40, using: &random)))
                if round % 5 == 4 { proxy.beginOutage() } else { proxy.end(.cut, .toServer) }
                try? await Task.sleep(for: .milliseconds(Int.random(in: 1...20, using: &random)))
                proxy.endOutage()
                for sender in senders { #expect(Self.addUp(sender.fates)) }
                #expect(budget.used <= .kibibytes(128))
            }
            for task in sending { task.cancel() }
            for task in sending { await task.value }
            for sender in senders {
                await sender.close(within: .milliseconds(200))
                let own = sender.fates
                #expect(own.queued == 0 && own.inFlight == 0 && Self.addUp(own), "\(own)")
                ends.withLock { $0.append(own) }
            }
            #expect(budget.used == 0 && budget.peak <= .kibibytes(128))
        }
        #expect(budget.used == 0)
        let all = ends.withLock { $0 }
        for fate: KeyPath<AMQPClient.Fates, Int> in [\.accepted, \.expired, \.inDoubt, \.dropped] {
            #expect(all.contains { $0[keyPath: fate] > 0 }, "\(fate): \(all)")
        }
    }

    private static func addUp(_ fates: AMQPClient.Fates) -> Bool {
        fates.handedOver == fates.finished + fates.queued + fates.inFlight
    }
}
