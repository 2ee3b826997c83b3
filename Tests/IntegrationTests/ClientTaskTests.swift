// SPDX-License-Identifier: Apache-2.0

import QpidProton
import TestSupport
import Testing

/// Clients leave no Swift tasks. Each test runs in a separate process and counts its tasks.
///
/// The tests do not observe the output of that process, because the observer blocks a thread of the pool until the end.
@Suite(
    .serialized,
    .timeLimit(.minutes(5)),
    .disabled(if: slowdown > 1, "the shadow memory of a sanitizer is too large to search")
)
struct ClientTaskTests {
    /// The most tasks by which the count of an idle process may differ, such as those of the test.
    private static let slack = 10

    @Test func lossesLeaveNoTask() async throws {
        await #expect(processExitsWith: .success) {
            try await ClientTaskTests.countAfterLosses(100)
        }
    }

    @Test func handledMessagesLeaveNoTask() async throws {
        await #expect(processExitsWith: .success) {
            try await ClientTaskTests.countAfterMessages(400)
        }
    }

    @Test func theCountIncludesEachTask() async throws {
        await #expect(processExitsWith: .success) {
            let before = try #require(LiveTasks.count)
            let tasks = (0..<100).map { _ in Task { while !Task.isCancelled { await Task.yield() } } }
            let during = try #require(LiveTasks.count)
            #expect((100...100 + ClientTaskTests.slack).contains(during - before), "\(before), then \(during)")
            for task in tasks { task.cancel() }
            for task in tasks { await task.value }
            // The array still refers to the tasks, so they count.
            #expect(try #require(LiveTasks.count) >= before + tasks.count)
        }
    }

    private static func countAfterLosses(_ losses: Int) async throws {
        try await withClient {
            $0.onConnect = { _, _ in }
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "a")
            let receiver = try await client.receiver(from: "b")
            func lose(_ count: Int) async throws {
                for _ in 0..<count {
                    let connections = peer.connections.count
                    for number in 0..<3 {
                        let limit: Duration? = number == 0 ? .seconds(60) : nil
                        try await sender.enqueue(AMQPMessage(body: "\(number)"), options: .init(expiresAfter: limit))
                    }
                    proxy.end(.cut, .toServer)
                    try await waitUntil("the next connection") {
                        peer.connections.count > connections && sender.link != nil && receiver.link != nil
                            && client.health.isReady
                    }
                }
                try await waitUntil("the outcomes") { sender.unsettledBytes == 0 }
            }
            // Tasks that the first losses start may remain.
            try await lose(20)
            try await Self.expectNoMore { try await lose(losses) }
        }
    }

    private static func countAfterMessages(_ messages: Int) async throws {
        try await withConsumer {
            $0.timeout = .seconds(300)
        } handler: { _ in
        } _: { consumer, sender, _, _ in
            func send(_ count: Int) async throws {
                for number in 0..<count { try await sender.send(AMQPMessage(body: "\(number)")) }
            }
            try await send(20)
            try await Self.expectNoMore { try await send(messages) }
        }
    }

    private static func expectNoMore(after body: () async throws -> Void) async throws {
        let before = try #require(LiveTasks.count)
        try await body()
        var after = 0
        for _ in 0..<100 {
            after = try #require(LiveTasks.count)
            if after <= before + Self.slack { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        guard after <= before + Self.slack else { throw Remaining(count: after - before) }
    }

    private struct Remaining: Error { let count: Int }
}
