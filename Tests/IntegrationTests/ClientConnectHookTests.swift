// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The hook that prepares each connection of a client.
@Suite(.timeLimit(.minutes(3)))
struct ClientConnectHookTests {
    private struct Refusal: Error, CustomStringConvertible {
        let description = "not now"
    }

    @Test func theHookRunsBeforeAnyLinkOfEachGeneration() async throws {
        let generations = Mutex<[Int]>([])
        try await withClient { configuration in
            configuration.onConnect = { connection, generation in
                generations.withLock { $0.append(generation) }
                _ = try await connection.openSession().openSender(to: "setup")
            }
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            let connection = try #require(client.connection)
            proxy.end(.cut, .toServer)
            try await waitUntil("the loss") { client.connection !== connection }
            try await sender.send(AMQPMessage(body: "m"))
            #expect(generations.withLock { $0 } == [1, 2])
            #expect(peer.attaches == ["setup", "q", "setup", "q"])
        }
    }

    @Test func aFailureIsAnEventAndIsRetried() async throws {
        let calls = Mutex(0)
        try await withClient { configuration in
            configuration.onConnect = { _, generation in
                let call = calls.withLock { calls in
                    calls += 1
                    return calls
                }
                if (2...3).contains(call) { throw Refusal() }
                #expect(generation == (call == 1 ? 1 : 2))
            }
        } _: { client, peer, proxy in
            let failures = HookFailures(of: client)
            let sender = try await client.sender(to: "q")
            proxy.end(.cut, .toServer)
            try await sender.send(AMQPMessage(body: "m"))
            #expect(client.state == .open(generation: 2) && calls.withLock { $0 } == 4)
            try await waitUntil("the events") { failures.all.count == 2 }
            for (generation, error) in failures.all {
                #expect(generation == 2 && error.underlying is Refusal && error.detail == "onConnect failed: not now")
            }
            try await waitUntil("the ends") { peer.connections.count { $0.error == nil } == 1 }
        }
    }

    @Test func anErrorThatIsNotRetryableEndsTheClient() async throws {
        try await withClient { configuration in
            configuration.onConnect = { _, _ in throw AMQPError(condition: .notAllowed, detail: "never") }
        } _: { client, _, _ in
            let error = try await failure(of: "connecting") { try await client.connect() }
            #expect(error.condition == .notAllowed && client.state == .closed(error))
        }
    }

    /// The hook ignores its cancellation.
    @Test func theHookHasALimit() async throws {
        let calls = Mutex(0)
        let release = Mutex<CheckedContinuation<Void, Never>?>(nil)
        defer { release.withLock { $0 }?.resume() }
        try await withClient { configuration in
            configuration.onConnectLimit = .milliseconds(200)
            configuration.onConnect = { _, _ in
                let call = calls.withLock { calls in
                    calls += 1
                    return calls
                }
                if call == 1 {
                    await withCheckedContinuation { continuation in release.withLock { $0 = continuation } }
                }
            }
        } _: { client, _, _ in
            let failures = HookFailures(of: client)
            try await within("the connection") { try await client.connect() }
            try await waitUntil("the event") { failures.all.count == 1 }
            let error = failures.all[0].error
            #expect(error.condition == .timeout && error.detail.contains("onConnect"), "\(error)")
        }
    }

    @Test func aLossEndsTheHook() async throws {
        let calls = Mutex(0)
        try await withClient { configuration in
            configuration.onConnect = { _, _ in
                let call = calls.withLock { calls in
                    calls += 1
                    return calls
                }
                if call == 1 { try await Task.sleep(for: .seconds(1_000)) }
            }
        } _: { client, peer, proxy in
            let connecting = Task { try await client.connect() }
            try await waitUntil("the hook") { calls.withLock { $0 } == 1 }
            #expect(client.state == .connecting && client.connection == nil)
            proxy.end(.reset, .toServer)
            proxy.end(.reset, .toClient)
            try await within("the connection", limit: .seconds(20)) { try await connecting.value }
            #expect(calls.withLock { $0 } == 2)
        }
    }

    @Test func aCloseEndsTheHook() async throws {
        let ended = Mutex(false)
        let began = Mutex(false)
        try await withClient { configuration in
            configuration.onConnect = { _, _ in
                began.withLock { $0 = true }
                defer { ended.withLock { $0 = true } }
                try await Task.sleep(for: .seconds(1_000))
            }
        } _: { client, peer, _ in
            let connecting = Task { try await client.connect() }
            try await waitUntil("the hook") { began.withLock { $0 } }
            await client.close()
            try await waitUntil("its end") { ended.withLock { $0 } }
            try await waitUntil("the end of the connection") { peer.connections.allSatisfy { $0.error != nil } }
            let error = try await failure(of: "connecting") { try await connecting.value }
            #expect(error.condition == .closed)
        }
    }
}
