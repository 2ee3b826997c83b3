// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Dialogues whose every byte is committed. They detect an internal change that alters the bytes on the wire.
///
/// `QPID_PROTON_RECORD_TRACES=1 ./dev/test --filter GoldenTraceTests` writes the files again. The commit message states
/// the reason.
@Suite(.deadline, .enabled(if: ProtonVersion.loaded == ProtonVersion.tested))
struct GoldenTraceTests {
    private static func configuration() -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.containerID = "library"
        configuration.virtualHost = "host"
        return configuration
    }

    /// Runs a dialogue on one session, and closes the connection.
    private func record(
        _ name: String,
        session: AMQPSession.Configuration = .init(),
        _ script: @Sendable () -> PeerScript = { PeerScript() },
        sourceLocation: SourceLocation = #_sourceLocation,
        _ body: (AMQPSession, GoldenTrace) async throws -> Void
    ) async throws {
        try await withPeer(configuration: Self.configuration(), script) { connection, peer in
            let trace = GoldenTrace(peer)
            let session = try await trace.step("open and begin") { try await connection.openSession(session) }
            try await body(session, trace)
            _ = try await trace.step("close") { await connection.close() }
            try trace.check(name, sourceLocation: sourceLocation)
        }
    }

    private func sender(
        _ session: AMQPSession,
        _ change: (inout AMQPSender.Configuration) -> Void = { _ in }
    ) async throws -> AMQPSender {
        var configuration = AMQPSender.Configuration(target: "q")
        configuration.name = "sender"
        change(&configuration)
        return try await session.openSender(configuration)
    }

    private func receiver(
        _ session: AMQPSession,
        window: AMQPReceiver.Window = .messages(8),
        _ change: (inout AMQPReceiver.Configuration) -> Void = { _ in }
    ) async throws -> AMQPReceiver {
        var configuration = AMQPReceiver.Configuration(source: "q", window: window)
        configuration.name = "receiver"
        change(&configuration)
        return try await session.openReceiver(configuration)
    }

    @Test func openToClose() async throws {
        try await withPeer(configuration: Self.configuration()) { connection, peer in
            let trace = GoldenTrace(peer)
            let first = try await trace.step("open and begin") { try await connection.openSession() }
            let second = try await trace.step("begin with other windows") {
                var configuration = AMQPSession.Configuration(incomingCapacity: .kibibytes(256))
                configuration.outgoingWindow = 77
                return try await connection.openSession(configuration)
            }
            let sender = try await trace.step("attach a sender") { try await self.sender(first) }
            let receiver = try await trace.step("attach a receiver") { try await self.receiver(second) }
            _ = try await trace.step("detach the sender") { await sender.detach() }
            _ = try await trace.step("close the receiver") {
                await receiver.close(AMQPError(scope: .link, condition: "x:y", detail: "why", info: ["a": 1]))
            }
            _ = try await trace.step("end") { await first.close() }
            _ = try await trace.step("close") {
                await connection.close(AMQPError(scope: .connection, condition: "x:z", detail: "because"))
            }
            try trace.check("open-to-close")
        }
    }

    @Test func smallMessages() async throws {
        try await self.record("small-messages") { session, trace in
            let sender = try await trace.step("attach") { try await self.sender(session) { $0.settleMode = .mixed } }
            for size in [0, 1, 100] {
                _ = try await trace.step("send \(size) bytes") {
                    try await sender.enqueue(encoded: payload(size)).outcome()
                }
            }
            _ = try await trace.step("send settled") {
                try await sender.enqueue(encoded: payload(10), settled: true).outcome()
            }
            var message = AMQPMessage(body: "text")
            message.header.durable = true
            message.properties.messageID = "id"
            message.applicationProperties["a"] = 1
            _ = try await trace.step("send a message") { [message] in try await sender.send(message) }
            _ = try await trace.step("five in one turn") {
                let trackers = try await trace.peer.run { _ in
                    try (0..<5).map { try sender.trySend(encoded: payload(20 + $0)) }
                }
                for tracker in trackers { _ = try await tracker.outcome() }
            }
        }
    }

    @Test func largeMessages() async throws {
        try await self.record("large-messages", { PeerScript(maxFrameSize: 4_096) }) { session, trace in
            let sender = try await trace.step("attach a sender") { try await self.sender(session) }
            _ = try await trace.step("send 100,000 bytes") {
                try await sender.enqueue(encoded: payload(100_000)).outcome()
            }
            let receiver = try await trace.step("attach a receiver") { try await self.receiver(session) }
            _ = try await trace.step("receive 300,000 bytes") {
                try await trace.peer.run { _ = $0.send(payload(300_000), on: $0.links[1]) }
                try await receiver.next()?.accept()
            }
        }
    }

    @Test func streams() async throws {
        try await self.record("streams", { PeerScript(maxFrameSize: 4_096) }) { session, trace in
            let sender = try await trace.step("attach a sender") { try await self.sender(session) }
            let body = FedBody()
            let streaming = begin { try await sender.stream(body: body) }
            for count in [10, 5_000] {
                _ = try await trace.step("a piece of \(count) bytes") {
                    body.feed(payload(count))
                    let total = count == 10 ? 10 : 5_010
                    try await eventually("the piece arrives") {
                        try await trace.peer.run { $0.partial.values.first?.readableBytes ?? 0 } >= total
                    }
                }
            }
            _ = try await trace.step("the end") {
                body.end()
                return try await streaming.value
            }
            let cut = FedBody()
            let aborted = begin { try await sender.stream(body: cut) }
            _ = try await trace.step("a piece of another") {
                cut.feed(payload(30))
                try await eventually("the piece arrives") {
                    try await trace.peer.run { $0.partial.values.first?.readableBytes ?? 0 } >= 30
                }
            }
            _ = try await trace.step("its abort") {
                aborted.cancel()
                _ = try? await aborted.value
            }
            let receiver = try await trace.step("attach a receiver") {
                try await self.receiver(session) { $0.streamsMessages = true }
            }
            _ = try await trace.step("a message that the peer aborts") {
                let beginning =
                    try AMQPMessage(body: payload(500)).encoded().getSlice(at: 0, length: 200) ?? ByteBuffer()
                try await trace.peer.run { _ = $0.send(beginning, on: $0.links[1], isLast: false) }
                let delivery = try #require(try await receiver.next())
                try await trace.peer.run { peer in
                    if let current = pn_link_current(peer.links[1]) { pn_delivery_abort(current) }
                    peer.isBetweenMessages = true
                }
                await expectError(.aborted) { for try await _ in delivery.body {} }
            }
        }
    }

    @Test func settlements() async throws {
        try await self.record("settlements", { .keepingOutcomes }) { session, trace in
            let receiver = try await trace.step("attach") { try await self.receiver(session, window: .messages(20)) }
            var deliveries: [AMQPDelivery] = []
            for _ in 0..<12 {
                try await trace.peer.run { _ = $0.send(payload(9), on: $0.links[0]) }
                deliveries.append(try #require(try await receiver.next()))
            }
            let all = deliveries
            try await trace.step("accept one") { _ = all[0].accept() }
            try await trace.step("reject, release and modify") {
                try await trace.peer.run { _ in
                    all[1].reject(AMQPError(condition: "x:bad", detail: "bad"))
                    all[2].release()
                    all[3].modify(AMQPModified(deliveryFailed: true, messageAnnotations: ["x-opt-n": 1]))
                }
            }
            try await trace.step("accept a range") { try await trace.peer.run { _ in _ = all[4..<7].acceptAll() } }
            try await trace.step("accept the last with the earlier ones") { _ = all[9].accept(includingEarlier: true) }
            try await trace.step("accept out of order") {
                try await trace.peer.run { _ in _ = all[11].accept() }
                await trace.peer.advance(by: .milliseconds(30))
                try await trace.peer.run { _ in _ = all[10].accept() }
                await trace.peer.advance(by: .milliseconds(30))
            }
        }
    }

    @Test func settlementsOfTheSecondMode() async throws {
        try await self.record("settlements-second", { .keepingOutcomes }) { session, trace in
            let receiver = try await trace.step("attach") {
                try await self.receiver(session) { $0.settleMode = .second }
            }
            for count in 1...3 {
                try await trace.step("message \(count)") {
                    try await trace.peer.run { _ = $0.send(payload(9), on: $0.links[0]) }
                    let delivery = try #require(try await receiver.next())
                    delivery.accept()
                    _ = try await delivery.settled()
                }
            }
        }
    }

    @Test func drains() async throws {
        try await self.record("drains") { session, trace in
            let sender = try await trace.step("attach a sender") { try await self.sender(session) }
            try await trace.step("the peer drains") { try await trace.peer.run { pn_link_drain($0.links[0], 0) } }
            try await trace.step("the peer grants") {
                try await trace.peer.run { peer in
                    pn_link_set_drain(peer.links[0], false)
                    pn_link_flow(peer.links[0], 3)
                }
                _ = try await sender.enqueue(encoded: payload(3)).outcome()
            }
            let receiver = try await trace.step("attach a receiver") { try await self.receiver(session) }
            _ = try await trace.step("drain") { try await receiver.drain(timeout: .seconds(5)) }
            _ = try await trace.step("receive with a timeout") {
                let waiting = begin { try await receiver.receive(timeout: .seconds(1)) }
                await trace.peer.advance(by: .seconds(2))
                return try await waiting.value
            }
            try await trace.step("pause") { try await receiver.pause() }
            try await trace.step("resume") { receiver.resume() }
        }
    }

    @Test func creditWindows() async throws {
        for (name, window) in [
            ("on-demand", AMQPReceiver.Window.onDemand), ("bytes", .bytes(.kibibytes(64))), ("automatic", .automatic),
        ] {
            try await self.record("credit-\(name)") { session, trace in
                let receiver = try await trace.step("attach") { try await self.receiver(session, window: window) }
                for count in 1...12 {
                    try await trace.step("message \(count)") {
                        let waiting = begin { try await receiver.next() }
                        await trace.peer.settle()
                        try await trace.peer.run { _ = $0.send(payload(1_000), on: $0.links[0]) }
                        try await waiting.value?.accept()
                    }
                }
            }
        }
    }

    @Test func windowsThatClose() async throws {
        try await self.record(
            "session-windows",
            session: .init(incomingCapacity: .kibibytes(256)),
            { .closingItsWindow }
        ) { session, trace in
            let sender = try await trace.step("attach a sender") { try await self.sender(session) }
            try await trace.step("fill the peer's window") {
                try await trace.peer.run { _ in for _ in 0..<8 { try sender.trySend(encoded: payload(900)) } }
            }
            try await trace.step("the peer takes") {
                try await trace.peer.run { peer in
                    peer.script.takesMessages = true
                    peer.receive(peer.links[0])
                }
            }
            let receiver = try await trace.step("attach a receiver") {
                try await self.receiver(session, window: .messages(100))
            }
            try await trace.step("this side's window is renewed") {
                for _ in 0..<6 {
                    try await trace.peer.run { _ = $0.send(payload(60_000), on: $0.links[1]) }
                    try await receiver.next()?.accept()
                }
            }
        }
    }

    @Test func echoes() async throws {
        try await withPeer(configuration: Self.configuration(), { .answeredByHand }) { connection, peer in
            let trace = GoldenTrace(peer)
            // From here on only the test sends for the peer.
            try await peer.run { $0.isDeaf = true }
            let opening = begin { try await connection.openSession() }
            let session = try await trace.step("open and begin") {
                await peer.settle()
                try await peer.run { try $0.inject(.begin(answering: 0)) }
                return try await opening.value
            }
            let attaching = begin { try await self.sender(session) }
            let sender = try await trace.step("attach") {
                await peer.settle()
                try await peer.run { try $0.inject(.attach("sender", handle: 0, isReceiver: true)) }
                return try await attaching.value
            }
            try await trace.step("an echo of the session") { try await peer.run { try $0.inject(.flow(echo: true)) } }
            try await trace.step("an echo of the link") {
                try await peer.run { try $0.inject(.flow(handle: 0, deliveryCount: 0, credit: 5, echo: true)) }
            }
            try await trace.step("two messages, one settled by the peer") {
                try await peer.run { _ in for _ in 0..<2 { try sender.trySend(encoded: payload(5)) } }
                try await peer.run { try $0.inject(.disposition(0)) }
            }
            try await trace.step("a transfer without a link") {
                try await peer.run { try $0.inject(.transfer(handle: 7, id: 0, tag: [1], payload: payload(3))) }
            }
            try trace.check("echoes")
        }
    }

    @Test func lanes() async throws {
        try await self.record("lanes", { PeerScript(credit: 40) }) { session, trace in
            let senders = try await trace.step("attach three") {
                var senders: [AMQPSender] = []
                for (name, priority, weight) in [("low", 1, 1), ("bulk", 4, 1), ("heavy", 4, 3)] {
                    senders.append(
                        try await self.sender(session) {
                            ($0.name, $0.priority, $0.weight) = (name, priority, weight)
                        }
                    )
                }
                return senders
            }
            try await trace.step("all at once") {
                let trackers = try await trace.peer.run { _ in
                    try (0..<24).flatMap { _ in try senders.map { try $0.trySend(encoded: payload(6_000)) } }
                }
                for tracker in trackers { _ = try await tracker.outcome() }
            }
        }
    }

    @Test func hostilePeer() async throws {
        try await withPeer(configuration: Self.configuration(), { .answeredByHand }) { connection, peer in
            let trace = GoldenTrace(peer)
            // From here on only the test sends for the peer.
            try await peer.run { $0.isDeaf = true }
            let opening = begin { try await connection.openSession() }
            let session = try await trace.step("open and begin") {
                await peer.settle()
                try await peer.run { try $0.inject(.begin(answering: 0)) }
                return try await opening.value
            }
            let attaching = begin { try await self.receiver(session, window: .messages(2)) }
            let receiver = try await trace.step("attach") {
                await peer.settle()
                try await peer.run { try $0.inject(.attach("receiver", handle: 3, isReceiver: false)) }
                return try await attaching.value
            }
            try await trace.step("more messages than credit") {
                try await peer.run { peer in
                    for id in UInt32(0)..<3 {
                        peer.inject(
                            try Frame.transfer(handle: 3, id: id, tag: [UInt8(id)], payload: payload(4)).encoded()
                        )
                    }
                }
                while let delivery = try? await receiver.next() { delivery.accept() }
            }
            try await trace.step("bytes that are no frame") {
                try await peer.run { $0.inject(ByteBuffer(bytes: [0, 0, 0, 3, 2, 0, 0, 0])) }
            }
            try trace.check("hostile-peer")
        }
    }

    @Test func optionsOfDeliveriesAndLinks() async throws {
        try await self.record("options", { PeerScript(maxFrameSize: 1_024) }) { session, trace in
            let sender = try await trace.step("attach with capabilities and properties") {
                try await self.sender(session) {
                    $0.desiredCapabilities = ["x:desired"]
                    $0.offeredCapabilities = ["x:offered", "x:more"]
                    $0.properties = [.symbol("p"): 1]
                }
            }
            _ = try await trace.step("a tag of its own") {
                try await sender.send(AMQPMessage(body: "a"), options: .init(deliveryTag: [9, 9]))
            }
            _ = try await trace.step("a format of its own, in several frames") {
                try await sender.enqueue(encoded: payload(2_000), options: .init(messageFormat: 0x80_0138)).outcome()
            }
            _ = try await trace.step("a message without options") { try await sender.send(AMQPMessage(body: "b")) }
        }
    }

    @Test func refusals() async throws {
        let script: @Sendable () -> PeerScript = {
            var script = PeerScript()
            script.onAttach = { _, link in
                pn_terminus_set_type(pn_link_target(link), PN_UNSPECIFIED)
                pn_condition_set_name(pn_link_condition(link), "amqp:not-found")
                pn_link_open(link)
                pn_link_close(link)
                return false
            }
            return script
        }
        try await self.record("refusals", script) { session, trace in
            _ = try await trace.step("a link that the peer refuses") {
                await expectError(.notFound) { try await self.sender(session) }
            }
            try await trace.step("a session that the peer ends") {
                try await trace.peer.run { peer in
                    pn_condition_set_name(pn_session_condition(peer.sessions[0]), "x:end")
                    pn_session_close(peer.sessions[0])
                }
            }
        }
    }
}
