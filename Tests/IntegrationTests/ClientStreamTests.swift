// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// Receivers of a client whose source is a stream, or a dynamic node.
@Suite(.timeLimit(.minutes(3)))
struct ClientStreamTests {
    /// Sends messages with offsets, as a stream does.
    private static func send(_ offsets: ClosedRange<UInt64>, _ sender: AMQPSender, settled: Bool = false) async throws {
        for offset in offsets {
            var message = AMQPMessage(body: "\(offset)")
            message.messageAnnotations[.symbol("x-stream-offset")] = .ulong(offset)
            _ = try await sender.enqueue(message, settled: settled)
        }
    }

    /// Returns the source filters of each link of a receiver.
    private static func filters(_ peer: ClientPeer) -> [[AMQPFilter]] { peer.senders.map(\.remoteSource.filters) }

    @Test(arguments: [true, false])
    func aReceiverContinuesAfterTheLastSettledMessage(_ isNamed: Bool) async throws {
        try await withClient { client, peer, proxy in
            let filters: [AMQPFilter] = isNamed ? [.streamOffset(.first), .selector("a = 1")] : []
            let receiver = try await client.receiver(.init(source: AMQPSource(address: "s", filters: filters)))
            try await waitUntil("the link") { peer.senders.count == 1 }
            try await Self.send(10...15, peer.senders[0])
            for _ in 0..<3 { try await receiver.next()?.accept() }
            let held = try #require(try await receiver.next())
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            // A received but unsettled message arrives again, and a decision about it is too late.
            let expected = filters.filter { $0 != .streamOffset(.first) } + [.streamOffset(.offset(13))]
            #expect(Self.filters(peer)[1] == expected)
            #expect(held.accept() == .stale)
            try await Self.send(13...14, peer.senders[1])
            let batch = try await receiver.nextBatch(max: 2)
            let rest = batch.count == 2 ? [] : try await receiver.nextBatch(max: 1)
            (batch + rest).last?.accept(includingEarlier: true)
            // No message has arrived since.
            for round in 2...3 {
                proxy.end(.cut, .toServer)
                try await waitUntil("link \(round)") { peer.senders.count == round + 1 && client.health.isReady }
                #expect(Self.filters(peer)[round].last == .streamOffset(.offset(15)))
            }
        }
    }

    /// A message that the sender has settled is done once a task receives it, even from a lost link.
    @Test func settledMessagesDoNotArriveAgain() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(
                .init(source: AMQPSource(address: "s", filters: [.streamOffset(.first)]))
            )
            try await waitUntil("the link") { peer.senders.count == 1 }
            try await Self.send(0...4, peer.senders[0], settled: true)
            try await waitUntil("the messages") { receiver.link?.bufferedMessages == 5 }
            #expect(try await receiver.next()?.decodeMessage().bodyString == "0")
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            #expect(Self.filters(peer)[1] == [.streamOffset(.offset(5))])
            for offset in 1...4 { #expect(try await receiver.next()?.decodeMessage().bodyString == "\(offset)") }
        }
    }

    @Test func aQueueIsOpenedWithoutAnOffset() async throws {
        try await withClient { client, peer, proxy in
            let receiver = try await client.receiver(from: "q")
            try await waitUntil("the link") { peer.senders.count == 1 }
            _ = try await peer.senders[0].enqueue(AMQPMessage(body: "m"))
            try await receiver.next()?.accept()
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            #expect(Self.filters(peer) == [[], []])
        }
    }

    @Test func anotherDynamicAddressIsAnEvent() async throws {
        try await withClient { client, peer, proxy in
            let changes = Mutex<[[String?]]>([])
            let events = client.events
            let watching = Task {
                for await event in events {
                    guard case .addressChanged(_, let old, let new) = event else { continue }
                    changes.withLock { $0.append([old, new]) }
                }
            }
            let receiver = try await client.receiver(.init(source: .dynamic))
            #expect(receiver.link?.remoteSource.address == "dynamic-1")
            proxy.end(.cut, .toServer)
            try await waitUntil("the next link") { peer.senders.count == 2 && client.health.isReady }
            try await waitUntil("the address") { receiver.link?.remoteSource.address == "dynamic-2" }
            try await waitUntil("the event") { changes.withLock { $0 } == [["dynamic-1", "dynamic-2"]] }
            watching.cancel()
        }
    }
}
