// SPDX-License-Identifier: Apache-2.0

import Logging
import QpidProton
import Synchronization
import TestSupport
import Testing

/// The life of a client: it connects, reconnects, exposes its state, and ends.
@Suite(.timeLimit(.minutes(3)))
struct ClientLifecycleTests {
    // MARK: Connecting

    @Test func theFirstConnectionIsRetriedUntilThePeerListens() async throws {
        var socket: RawSocket? = try RawSocket()
        let port = try #require(socket?.port)
        let client = AMQPClient.impatient(["amqp://127.0.0.1:\(port)"])
        let connecting = Task { try await client.connect() }
        try await waitUntil("attempts") { client.state == .connecting }
        try await Task.sleep(for: .milliseconds(50))
        socket = nil
        try await ClientPeer.with(port: port) { _ in
            try await within("the connection") { try await connecting.value }
            #expect(client.state == .open(generation: 1))
            await client.close()
        }
    }

    @Test func theFirstConnectionHasALimit() async throws {
        let socket = try RawSocket()
        let client = AMQPClient.impatient(["amqp://127.0.0.1:\(socket.port)"]) {
            $0.recovery.firstConnectionTimeout = .seconds(1)
        }
        let error = try await failure(of: "connecting") { try await client.sender(to: "q") }
        #expect(error.condition == .timeout && error.detail.contains("connection refused"), "\(error)")
        #expect(error.detail.contains("attempts"))
        #expect(client.state == .closed(error) && !client.health.isReady)
        let again = try await failure(of: "another use") { try await client.receiver(from: "q") }
        #expect(again.condition == .timeout)
    }

    @Test func unusableSettingsAreThrownAtTheFirstUse() async throws {
        let url = try await failure(of: "a wrong URL") { try await AMQPClient(url: "http://x").connect() }
        #expect(url.condition == .invalidArgument)
        let none = try await failure(of: "no URL") { try await AMQPClient(urls: [String]()).connect() }
        #expect(none.condition == .invalidArgument && none.detail == "the client has no URL")
        var configuration = AMQPClient.Configuration()
        configuration.recovery.longestDelay = .zero
        let client = AMQPClient(url: "amqp://localhost", configuration: configuration)
        let delay = try await failure(of: "a wrong delay") { try await client.sender(to: "q") }
        #expect(delay.condition == .invalidArgument && delay.detail.contains("recovery.longestDelay"))
        await client.close()
    }

    @Test func aClosedLinkIsNotAttachedAgain() async throws {
        try await ClientPeer.with { peer in
            let client = AMQPClient.impatient([peer.url])
            let events = client.events
            for _ in 0..<20 {
                let (sender, receiver) = (try await client.sender(to: "q"), try await client.receiver(from: "q"))
                try await sender.send(AMQPMessage(body: "m"))
                #expect(await sender.close().isComplete)
                #expect(await receiver.close().isComplete)
            }
            await client.close()
            for await event in events {
                switch event {
                case .linkLost, .linkFailed: Issue.record("\(event)")
                default: break
                }
            }
            #expect(peer.receivers.count == 20 && peer.senders.count == 20)
        }
    }

    @Test func urlsTakeTurns() async throws {
        let dead = try RawSocket()
        try await ClientPeer.with { peer in
            let client = AMQPClient.impatient(["amqp://127.0.0.1:\(dead.port)", peer.url])
            let sender = try await client.sender(to: "q")
            try await sender.send(AMQPMessage(body: "m"))
            #expect(client.state == .open(generation: 1))
            await client.close()
        }
    }

    @Test func aRefusedLoginEndsTheClient() async throws {
        var listening = AMQPListener.Configuration()
        listening.sasl = AMQPServerSASL { _, given in given == "right" }
        try await ClientPeer.with(listening) { peer in
            let client = AMQPClient.impatient(["amqp://user:wrong@127.0.0.1:\(peer.port)"])
            let error = try await failure(of: "connecting") { try await client.connect() }
            #expect(error.condition == .unauthorizedAccess && client.state == .closed(error))
        }
    }

    @Test func credentialsAreRequestedForEachAttempt() async throws {
        var listening = AMQPListener.Configuration()
        let password = Mutex("first")
        listening.sasl = AMQPServerSASL { _, given in password.withLock { $0 == given } }
        try await ClientPeer.with(listening) { peer in
            try await FaultProxy.with(to: peer.port) { proxy in
                let asked = Mutex(0)
                let client = AMQPClient.impatient([proxy.url]) { configuration in
                    configuration.credentials = {
                        asked.withLock { $0 += 1 }
                        return .plain(username: "user", password: password.withLock { $0 })
                    }
                }
                let sender = try await client.sender(to: "q")
                #expect(asked.withLock { $0 } == 1)
                password.withLock { $0 = "second" }
                proxy.end(.cut, .toServer)
                try await sender.send(AMQPMessage(body: "m"))
                #expect(asked.withLock { $0 } >= 2)
                await client.close()
            }
        }
    }

    @Test func aRefusedLoginIsRepeatedOnlyWithNewCredentials() async throws {
        var listening = AMQPListener.Configuration()
        listening.sasl = AMQPServerSASL { _, given in given == "4" }
        try await ClientPeer.with(listening) { peer in
            let asked = Mutex(0)
            // Each attempt uses another password, and only the fourth one is correct.
            let client = AMQPClient.impatient([peer.url]) { configuration in
                configuration.credentials = {
                    let number = asked.withLock { asked in
                        asked += 1
                        return asked
                    }
                    return .plain(username: "user", password: "\(min(number, 4))")
                }
            }
            try await client.connect()
            await client.close()
            let stale = AMQPClient.impatient([peer.url]) { configuration in
                configuration.credentials = { .plain(username: "user", password: "old") }
            }
            let error = try await failure(of: "connecting") { try await stale.connect() }
            #expect(error.condition == .unauthorizedAccess)
        }
    }

    // MARK: Losses

    @Test func aSilentPeerIsALoss() async throws {
        try await withClient {
            $0.connection.idleTimeout = .seconds(2)
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            let start = ContinuousClock.now
            proxy.end(.blackHole, .toClient)
            proxy.end(.blackHole, .toServer)
            try await sender.send(AMQPMessage(body: "m"))
            #expect(ContinuousClock.now - start < .seconds(20))
            #expect(client.state == .open(generation: 2) && peer.connections.count == 2)
        }
        #expect(AMQPClient.Configuration().connection.idleTimeout == .seconds(15))
    }

    @Test func anOutageEndsTheClientAfterItsLimit() async throws {
        try await withClient {
            $0.recovery.giveUpAfter = .seconds(1)
        } _: { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            let run = Task { try await client.run() }
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            let tracker = try? await sender.enqueue(AMQPMessage(body: "m"))
            let error = try await failure(of: "running") { try await run.value }
            #expect(error.condition == .timeout && error.detail.contains("1.0 seconds"), "\(error)")
            let unsent = try await failure(of: "the message") { try await tracker?.outcome() }
            #expect(unsent.fate == .notSent && unsent.condition == .timeout)
            let result = await client.close()
            #expect(result.error?.condition == .timeout && result.notSent == 1)
        }
    }

    @Test func aCloseThatForbidsAnotherAttemptEndsTheClient() async throws {
        try await withClient { client, peer, _ in
            _ = try await client.sender(to: "q")
            _ = await peer.connections[0].close(AMQPError(scope: .connection, condition: .notAllowed, detail: "no"))
            try await waitUntil("the end") {
                if case .closed(let error?) = client.state { error.detail == "no" } else { false }
            }
        }
    }

    @Test func eachLossIsOneWarningAndEachRecoveryOneLine() async throws {
        let lines = LogLines(level: .info)
        try await ClientPeer.with { peer in
            try await FaultProxy.with(to: peer.port) { proxy in
                var configuration = AMQPClient.Configuration()
                configuration.recovery.firstDelay = .milliseconds(5)
                let client = AMQPClient(urls: [proxy.url], configuration: configuration, logger: lines.logger)
                let events = client.events
                let sender = try await client.sender(to: "q")
                let receiver = try await client.receiver(from: "q")
                for loss in 1...3 {
                    proxy.end(.blackHole, .toClient)
                    let tracker = try await sender.enqueue(AMQPMessage(body: "\(loss)"))
                    try await waitUntil("the arrival") { peer.ids.last == "\(loss)" }
                    proxy.end(.cut, .toServer)
                    _ = try await tracker.outcome()
                    try await waitUntil("recovery \(loss)") { client.health.isReady && client.health.downFor == nil }
                }
                await client.close()
                withExtendedLifetime(receiver) {}
                let warnings = lines.all.filter { $0.level == .warning }
                #expect(warnings.map(\.message) == Array(repeating: "the connection was lost", count: 3), "\(warnings)")
                #expect(warnings.allSatisfy { $0["amqp.unsettled"] == "1" })
                #expect(warnings.allSatisfy { $0["amqp.condition"] == "local:connection-lost" })
                let infos = lines.all.filter { $0.level == .info && $0.message == "the connection is open again" }
                #expect(infos.map { $0["amqp.generation"] } == ["2", "3", "4"])
                #expect(infos.allSatisfy { $0["amqp.messages"] == "1" })
                let place = "127.0.0.1:\(proxy.port)"
                #expect((warnings + infos).allSatisfy { $0["amqp.peer"]?.contains(place) == true }, "\(warnings)")
                var names: [String] = []
                for await event in events { names.append(String("\(event)".prefix { $0 != "(" })) }
                let cycle = ["lost", "attempt", "open", "recovered"]
                for name in cycle { #expect(names.count { $0 == name } >= 3, "\(name) in \(names)") }
                #expect(names.prefix(2) == ["attempt", "open"] && names.last == "closed")
            }
        }
    }

    // MARK: Closing

    @Test func aCloseSendsAcceptedMessages() async throws {
        try await withClient { client, peer, _ in
            let sender = try await client.sender(to: "q")
            var trackers: [AMQPClient.Tracker] = []
            for id in 0..<500 { trackers.append(try await sender.enqueue(AMQPMessage(body: "\(id)"))) }
            let result = await client.close(within: .seconds(30))
            #expect(result.isComplete, "\(result)")
            #expect(trackers.allSatisfy { $0.result == .success(.accepted) } && peer.ids.count == 500)
            #expect(client.state == .closed(nil))
            let late = try await failure(of: "a late message") { try await sender.send(AMQPMessage(body: "late")) }
            #expect(late.condition == .closed && late.fate == .notSent)
            // A second close returns the same result.
            #expect(await client.close().isComplete)
        }
    }

    @Test func aCloseReturnsUnsettledMessages() async throws {
        try await withClient { client, peer, _ in
            let sender = try await client.sender(to: "q")
            peer.settle(false)
            let tracker = try await sender.enqueue(AMQPMessage(body: "a"))
            try await waitUntil("the arrival") { peer.ids.count == 1 }
            let start = ContinuousClock.now
            let result = await client.close(within: .milliseconds(400))
            #expect(ContinuousClock.now - start < .seconds(10))
            #expect(result.inDoubt == 1 && result.notSent == 0 && !result.isComplete, "\(result)")
            let error = try await failure(of: "the message") { try await tracker.outcome() }
            #expect(error.fate == .inDoubt)
        }
    }

    @Test func aCloseDuringAnOutageReturnsEverything() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            peer.settle(false)
            let doubtful = try await sender.enqueue(AMQPMessage(body: "doubtful"))
            try await waitUntil("the arrival") { peer.ids.count == 1 }
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            for id in 0..<3 { _ = try await sender.enqueue(AMQPMessage(body: "\(id)")) }
            let start = ContinuousClock.now
            let result = await client.close(within: .seconds(30))
            #expect(ContinuousClock.now - start < .seconds(15))
            #expect(result.notSent == 3 && result.inDoubt == 1 && result.error?.condition == .connectionLost)
            let bodies = try result.unfinished[0].notSent.map { try AMQPMessage(decoding: $0.payload).bodyString }
            #expect(bodies == ["0", "1", "2"] && result.unfinished[0].linkName == sender.name)
            guard case .failure(let error)? = doubtful.result else { return #expect(Bool(false)) }
            #expect(error.fate == .inDoubt && result.unfinished[0].inDoubt.map(\.result) == [doubtful.result])
        }
    }

    @Test func aCloseEndsAHangingAttempt() async throws {
        let silent = try RawSocket()
        silent.listen(backlog: 8)
        let client = AMQPClient.impatient(["amqp://127.0.0.1:\(silent.port)"])
        let opening = Task { try await client.sender(to: "q") }
        try await waitUntil("the attempt") { client.state == .connecting }
        let start = ContinuousClock.now
        let result = await client.close(within: .seconds(30))
        #expect(ContinuousClock.now - start < .seconds(15) && result.isComplete)
        let error = try await failure(of: "opening") { try await opening.value }
        #expect(error.condition == .closed)
    }

    @Test func theEndOfAScopeSendsAndCloses() async throws {
        try await ClientPeer.with { peer in
            try await AMQPClient.withClient(url: peer.url) { client in
                let sender = try await client.sender(to: "q")
                for id in 0..<10 { _ = try await sender.enqueue(AMQPMessage(body: "\(id)")) }
            }
            #expect(peer.ids.count == 10)
            peer.settle(false)
            let error = try await failure(of: "the scope") {
                try await AMQPClient.withClient(url: peer.url, closingWithin: .milliseconds(200)) { client in
                    _ = try await client.sender(to: "q").enqueue(AMQPMessage(body: "doubtful"))
                }
            }
            #expect(error.fate == .inDoubt && error.detail.contains("1 message in doubt"), "\(error)")
        }
    }

    @Test func aReleasedSenderStillSends() async throws {
        try await withClient { client, peer, proxy in
            var sender: AMQPClient.Sender? = try await client.sender(to: "q")
            proxy.beginOutage()
            try await waitUntil("the loss") { sender?.link == nil }
            let tracker = try await sender?.enqueue(AMQPMessage(body: "m"))
            sender = nil
            proxy.endOutage()
            #expect(try await tracker?.outcome() == .accepted)
            try await waitUntil("the end") { client.health.links == 0 }
        }
    }

    @Test func aReleasedClientCloses() async throws {
        try await ClientPeer.with { peer in
            var client: AMQPClient? = AMQPClient(url: peer.url)
            try await client?.connect()
            client = nil
            try await waitUntil("the end") { peer.connections.allSatisfy { $0.error != nil } }
        }
    }
}
