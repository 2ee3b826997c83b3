// SPDX-License-Identifier: Apache-2.0

import QpidProton
import TestSupport
import Testing

/// The limits of a client's closes, tested with a peer that reads and answers nothing.
@Suite(.timeLimit(.minutes(3)))
struct ClientCloseLimitTests {
    /// Runs `body` with a client that has a message in doubt, after its peer has fallen silent.
    private func withSilentPeer(
        _ body: (AMQPClient, AMQPClient.Sender, AMQPClient.Receiver) async throws -> Void
    ) async throws {
        try await ClientPeer.with { peer in
            try await FaultProxy.with(to: peer.port) { proxy in
                let client = AMQPClient.impatient([proxy.url]) {
                    $0.connection.idleTimeout = nil
                    // A close that waits for the operation timeout exceeds its own limit by far.
                    $0.connection.operationTimeout = .seconds(60)
                }
                let receiver = try await client.receiver(from: "jobs")
                let sender = try await client.sender(to: "q")
                peer.settle(false)
                _ = try await sender.enqueue(AMQPMessage(body: "m"))
                try await waitUntil("the message") { peer.ids == ["m"] }
                for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) }
                try await body(client, sender, receiver)
                let closing = Task { await client.close(within: .milliseconds(1)) }
                try await within("the close", limit: .seconds(20)) { _ = await closing.value }
            }
        }
    }

    /// The shortest limit leaves no time for the peer's answer.
    @Test(arguments: ["receiver", "sender", "client"], [Duration.milliseconds(1), .milliseconds(500)])
    func aCloseEndsAtItsLimit(_ what: String, _ limit: Duration) async throws {
        try await self.withSilentPeer { client, sender, receiver in
            let result = try await within("the close of the \(what)", limit: .seconds(20)) {
                switch what {
                case "receiver": await receiver.close(within: limit)
                case "sender": await sender.close(within: limit)
                default: await client.close(within: limit)
                }
            }
            #expect(result.error?.condition == .timeout, "\(result)")
            #expect(result.inDoubt == (what == "receiver" ? 0 : 1), "\(result)")
        }
    }

    @Test func aSecondCloseShortensTheFirst() async throws {
        try await self.withSilentPeer { client, _, _ in
            let first = Task { await client.close(within: .seconds(60)) }
            try await waitUntil("the close") { client.state == .closing }
            let result = try await within("the second close", limit: .seconds(20)) {
                await client.close(within: .milliseconds(100))
            }
            #expect(await first.value.inDoubt == 1 && result.inDoubt == 1)
        }
    }

    @Test func aCancelledCloseEndsAtOnce() async throws {
        try await self.withSilentPeer { client, _, _ in
            let closing = Task { await client.close(within: .seconds(60)) }
            try await waitUntil("the close") { client.state == .closing }
            closing.cancel()
            let result = try await within("the close", limit: .seconds(20)) { await closing.value }
            #expect(result.inDoubt == 1)
        }
    }
}
