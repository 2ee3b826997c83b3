// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Proton reads texts as C strings, which end at the first zero byte. No text of this side is truncated in transit.
@Suite(.deadline)
struct ZeroByteTests {
    /// Each field of a source or a target that cannot be sent, with the words that name the field.
    private static let sources: [(AMQPSource, String)] = {
        var sources: [(AMQPSource, String)] = [
            (AMQPSource(address: "orders\0evil"), "address \"orders\\0evil\" contains a zero byte")
        ]
        func add(_ text: String, _ change: (inout AMQPSource) -> Void) {
            var source = AMQPSource(address: "orders")
            change(&source)
            sources.append((source, text))
        }
        add("capability \"a\\0b\" contains a zero byte") { $0.capabilities = ["a\0b"] }
        add("capability \"\u{e9}\" is not ASCII") { $0.capabilities = ["fine", "\u{e9}"] }
        add("filter \"a\\0b\" contains a zero byte") { $0.filters = [AMQPFilter(name: "a\0b", value: .null)] }
        add("filter \"\u{e9}\" is not ASCII") { $0.filters = [AMQPFilter(name: "\u{e9}", value: .null)] }
        add("dynamicNodeProperties: the key \"a\\0b\" contains a zero byte") {
            $0.dynamicNodeProperties = [.symbol("a\0b"): 1]
        }
        add("timeout is \(Duration.seconds(-1))") { $0.timeout = .seconds(-1) }
        add("timeout is \(Duration.seconds(4_294_967_296))") { $0.timeout = .seconds(4_294_967_296) }
        return sources
    }()

    @Test func noLinkIsAttachedToATruncatedAddress() async throws {
        try await withSession { session, peer in
            for (source, text) in Self.sources {
                let receiving = await expectError(.invalidArgument) {
                    try await session.openReceiver(.init(source: source))
                }
                var sending = AMQPSender.Configuration(target: "queue")
                sending.source = source
                let settings = sending
                let sender = await expectError(.invalidArgument) { try await session.openSender(settings) }
                for error in [receiving, sender] {
                    #expect(
                        error?.scope == .call && error?.detail.contains(text) == true,
                        "\(String(describing: error))"
                    )
                    #expect(error?.detail.utf8.contains(0) == false)
                }
            }
            let target = await expectError(.invalidArgument) { try await session.openSender(to: "orders\0evil") }
            #expect(target?.detail.contains("the target's address \"orders\\0evil\" contains a zero byte") == true)
            var names = AMQPReceiver.Configuration(source: "queue")
            names.properties = [.symbol("a\0b"): 1]
            let properties = names
            let receiver = await expectError(.invalidArgument) { try await session.openReceiver(properties) }
            #expect(receiver?.detail.contains("the receiver's properties: the key \"a\\0b\"") == true)
            // The library has sent none of these attaches, and the session continues.
            #expect(try await peer.run { $0.links.count } == 0)
            let good = try await session.openSender(to: "orders")
            #expect(try await good.send(AMQPMessage(body: "hello")) == .accepted)
        }
    }

    @Test func linkNamesThatCannotBeUsed() async throws {
        try await withSession { session, peer in
            for (name, text) in [
                ("", "the link name is empty"), ("a\0b", "the link name \"a\\0b\" contains a zero byte"),
                ("taken", "the link name \"taken\" is in use"),
            ] {
                var configuration = AMQPSender.Configuration(target: "queue")
                configuration.name = "taken"
                if name == "taken" { _ = try await session.openSender(configuration) }
                configuration.name = name
                let settings = configuration
                let error = await expectError(.invalidArgument) { try await session.openSender(settings) }
                #expect(error?.scope == .call && error?.detail.contains(text) == true)
            }
            #expect(try await peer.run { $0.links.count } == 1)
        }
    }

    /// Values keep their zero bytes: an AMQP string may contain them, and is sent with its length.
    @Test func stringsInMapsArriveUnchanged() async throws {
        try await withSession { session, peer in
            let value = AMQPValue.string("a\0b")
            var configuration = AMQPSender.Configuration(target: "queue")
            configuration.properties = [.symbol("key"): value]
            _ = try await session.openSender(configuration)
            try await peer.run { peer in
                #expect(ProtonData.map(pn_link_remote_properties(peer.links[0]))[symbol: "key"] == value)
            }
        }
    }

    /// The reason of an end cannot be refused, because the end must proceed. It is escaped rather than truncated.
    @Test func reasonsArriveComplete() async throws {
        let reason = AMQPError(scope: .link, condition: "com.example:caf\u{e9}\0x", detail: "before\0after")
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "queue")
            try await sender.close(reason).check()
            try await session.close(reason).check()
            try await peer.run { peer in
                for condition in [
                    pn_link_remote_condition(peer.links[0]), pn_session_remote_condition(peer.sessions[0]),
                ] {
                    let error = ProtonCondition.get(condition, .link)
                    #expect(error?.detail == "before\u{FFFD}after")
                    #expect(error?.condition == "com.example:caf??x")
                }
            }
        }
        try await withPeer { connection, peer in
            try await connection.close(reason).check()
            try await peer.run { peer in
                let error = ProtonCondition.get(pn_connection_remote_condition(peer.connection), .connection)
                #expect(error?.detail == "before\u{FFFD}after" && error?.condition == "com.example:caf??x")
            }
        }
    }

    @Test func aRejectionArrivesComplete() async throws {
        try await withSession({ () -> PeerScript in
            var script = PeerScript.keepingOutcomes
            script.onUpdate = { peer, delivery in
                let condition = pn_disposition_condition(pn_delivery_remote(delivery))
                let error = ProtonCondition.get(condition, .delivery)
                if error?.detail == "before\u{FFFD}after", error?.condition == .internalError {
                    peer.outcomes.append(1)
                }
                pn_delivery_settle(delivery)
            }
            return script
        }) { session, peer in
            let receiver = try await session.openReceiver(from: "queue", window: .messages(4))
            try await peer.run { _ = $0.send(payload(9), on: $0.links[0]) }
            // The library sends neither an empty condition nor a condition of its own.
            let delivery = try await receiver.next()
            delivery?.reject(AMQPError(scope: .delivery, condition: "", detail: "before\0after"))
            await peer.settle()
            #expect(try await peer.run { $0.outcomes } == [1])
        }
    }

    @Test func theOwnCloseFrameIsComplete() throws {
        for (condition, sent) in [
            (AMQPCondition.timeout, "amqp:internal-error"), ("", "amqp:internal-error"), ("a\u{e9}\0", "a??"),
            (.notAllowed, "amqp:not-allowed"),
        ] {
            var buffer = ByteBuffer()
            try CloseFrame.write(AMQPError(scope: .connection, condition: condition, detail: "a\0b"), into: &buffer)
            buffer.moveReaderIndex(forwardBy: 8)
            let reason = AMQPValue.described(0x1D, .list([.symbol(AMQPSymbol(sent)), .string("a\u{FFFD}b")]))
            #expect(try AMQPValue(decoding: &buffer) == .described(0x18, .list([reason])))
        }
    }
}
