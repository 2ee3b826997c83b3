// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Texts of a peer that contain a zero byte, where C would cut them. The library refuses such a text or exposes all of
/// it.
@Suite(.deadline)
struct PeerTextTests {
    private static let cut = "orders\0evil"

    enum Place: String, CaseIterable { case source, target }

    private static func attach(_ name: AMQPValue, _ place: Place, isReceiver: Bool) -> Frame {
        let bad: [AMQPValue] = [.string(Self.cut)]
        let source: AMQPValue = .described(0x28, .list(place == .source ? bad : ["from"]))
        let target: AMQPValue = .described(0x29, .list(place == .target ? bad : ["to"]))
        return .attach(name, handle: 3, isReceiver: isReceiver, source: source, target: target)
    }

    /// The link is refused, and the session continues.
    @Test(arguments: Place.allCases, [false, true])
    func addressesOfALinkOfThePeer(place: Place, isReceiver: Bool) async throws {
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin(), Self.attach("bad", place, isReceiver: isReceiver))
            var incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
            try await session.accept()
            await adversary.peer.settle()
            let error = try await adversary.error(in: .detach)
            #expect(error?.condition == .invalidField)
            #expect(error?.text.contains("address of its \(place)") == true, "\(String(describing: error))")
            // No answer contains the address.
            let answer = try #require(try await adversary.frames(.attach).last)
            #expect(!"\(answer.fields)".contains("orders"))
            try await adversary.send(.detach(3))
            try await adversary.send(.attach("good", handle: 3, isReceiver: false))
            let receiver = try await connection.acceptReceiver()
            #expect(receiver.name == "good" && connection.error == nil)
        }
    }

    @Test(arguments: Place.allCases, [false, true])
    func addressesInAnAnswer(place: Place, isSender: Bool) async throws {
        try await withAdversary(.client) { connection, adversary in
            let session = try await adversary.session(connection)
            let opening = begin {
                if isSender {
                    _ = try await session.openSender(to: "q")
                } else {
                    _ = try await session.openReceiver(from: "q")
                }
            }
            await adversary.peer.settle()
            let name = try #require(try await adversary.frames(.attach).last).field(0)
            try await adversary.send(Self.attach(name, place, isReceiver: isSender))
            let error = await expectError(.invalidField) { try await opening.value }
            #expect(error?.scope == .link && error?.origin == .local)
            #expect(try await adversary.error(in: .detach)?.condition == .invalidField)
            #expect(connection.error == nil && session.error == nil)
        }
    }

    @Test(arguments: [0, 1])
    func containerAndHost(field: Int) async throws {
        let peer = try await InMemoryPeer(role: .server, script: .mute)
        try await peer.run { $0.isDeaf = true }
        let adversary = Adversary(peer: peer)
        var fields: [AMQPValue] = ["c", "h"]
        fields[field] = .string(Self.cut)
        try await adversary.send(FuzzDialogue.header)
        try await adversary.send(Frame(.open, fields))
        await expectError(.invalidField) { try await peer.handler.opened.value() }
        let close = try await adversary.error(in: .close)
        #expect(close?.condition == .invalidField)
        #expect(close?.text.contains(field == 0 ? "container-id" : "hostname") == true)
        await peer.finish()
    }

    /// Texts for people are exposed completely, with a mark in place of each zero byte. No condition becomes another
    /// one.
    @Test(arguments: [Frame.Code.detach, .end, .close, .disposition])
    func conditionsAndDescriptions(code: Frame.Code) async throws {
        let list: [AMQPValue] = [
            .symbol("amqp:not-found\0x"), .string("a\0b\0"), .map([.symbol("k\0"): .string("v\0w")]),
        ]
        let error: AMQPValue = .described(0x1D, .list(list))
        try await withSenders(.client, 1) { senders, connection, adversary in
            let transfer = try senders[0].trySend(encoded: payload(1))
            await adversary.peer.settle()
            var shown: AMQPError?
            switch code {
            case .detach:
                try await adversary.send(Frame(.detach, [.uint(0), .bool(true), error]))
                shown = senders[0].error
            case .end:
                try await adversary.send(Frame(.end, [error]))
                shown = senders[0].session.error
            case .close:
                try await adversary.send(Frame(.close, [error]))
                shown = connection.error
            default:
                try await adversary.send(.disposition(0, state: .described(0x25, .list([error]))))
                if case .rejected(let reason) = try await transfer.outcome() { shown = reason }
            }
            #expect(shown?.condition.rawValue == "amqp:not-found\u{FFFD}x")
            #expect(shown?.detail == "a\u{FFFD}b\u{FFFD}")
            #expect(shown?.info == [.symbol("k\0"): .string("v\0w")])
        }
    }

    @Test func anErrorThatHasNoRoomForTheMarks() async throws {
        try await withSenders(.client, 1) { senders, connection, adversary in
            let text = String(repeating: "\0", count: 60_000)
            let error: AMQPValue = .described(0x1D, .list([.symbol("a"), .string(text)]))
            try await adversary.send(Frame(.detach, [.uint(0), .bool(true), error]))
            try await adversary.expectClose(.decodeError, "zero bytes", connection)
        }
    }

    /// Maps, capabilities and tags carry their lengths, and arrive unchanged.
    @Test func valuesWithLengthsArriveUnchanged() async throws {
        try await withAdversary(
            .server,
            open: Frame(.open, ["c", .null, .uint(65_536), .ushort(9), .null, .null, .null, .symbol("a\0b")])
        ) {
            connection,
            adversary in
            #expect(connection.peer.offeredCapabilities == ["a\0b"])
            try await adversary.send(.begin())
            let filters: AMQPValue = .map([.symbol("f\0g"): .string("h\0i")])
            let fields: [AMQPValue] = ["from", .null, .null, .null, .null, .null, .null, filters]
            let properties: AMQPMap = [.symbol("p\0"): .string("q\0r")]
            try await adversary.send(
                .attach(
                    "l",
                    handle: 0,
                    isReceiver: true,
                    source: .described(0x28, .list(fields)),
                    properties: .map(properties)
                )
            )
            var incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
            try await session.accept()
            guard case .sender(let wish)? = try await incoming.next() else { throw Unexpected(what: "no sender") }
            #expect(wish.attach.properties == properties)
            #expect(wish.attach.source?.filters == [AMQPFilter(name: "f\0g", value: .string("h\0i"))])
        }
    }
}
