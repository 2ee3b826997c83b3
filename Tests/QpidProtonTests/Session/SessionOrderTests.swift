// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import QpidProton

/// If a peer ends or detaches early and at once begins or attaches again, the answers follow the order of its requests.
///
/// Source: AMQP 1.0 §2.5, §2.6.
@Suite(.deadline(minutes: 2))
struct SessionOrderTests {
    private static func end(_ channel: UInt16) -> Frame { Frame(.end, channel: channel, []) }

    /// Returns the library's answers to the peer's sessions and links, in order. Each answer names the peer's channel.
    private func answers(_ adversary: Adversary) async throws -> [String] {
        var channels: [UInt16: String] = [:]
        return try await adversary.peer.framesOfLibrary().compactMap { frame in
            switch frame.code {
            case .begin:
                guard case .ushort(let remote) = frame.field(0) else { return "begin of its own" }
                channels[frame.channel] = "\(remote)"
                return "begin \(remote)"
            case .end: return "end \(channels[frame.channel] ?? "?")"
            case .attach: return "attach \(channels[frame.channel] ?? "?") \(frame.field(0).stringValue ?? "?")"
            case .detach: return "detach \(channels[frame.channel] ?? "?")"
            default: return nil
            }
        }
    }

    /// Expects that no part of an ended session remains.
    private func expectNothingLeft(_ adversary: Adversary) async throws {
        // Channel numbers rest for a while.
        await adversary.peer.advance(by: .seconds(1))
        try await eventually("no session is left") {
            await adversary.peer.settle()
            return try await adversary.peer.run { peer in
                peer.handler.sessions.count == 0 && pn_session_head(peer.handler.engine.connection, 0) == nil
            }
        }
    }

    enum Cut: CaseIterable {
        case none, frames, bytes
    }

    private func send(_ frames: [Frame], _ cut: Cut, _ adversary: Adversary) async throws {
        switch cut {
        case .none: try await adversary.send(frames)
        case .frames: for frame in frames { try await adversary.send(frame) }
        case .bytes:
            for byte in try frames.flatMap({ Array(try $0.encoded().readableBytesView) }) {
                try await adversary.send(ByteBuffer(bytes: [byte]))
            }
        }
    }

    @Test(arguments: bothRoles, Cut.allCases)
    func beginAndEndAnswerABeginAndAnEnd(role: ConnectionHandler.Role, cut: Cut) async throws {
        try await withAdversary(role) { connection, adversary in
            for round in 1...3 {
                try await self.send([.begin(channel: 3), Self.end(3)], cut, adversary)
                let expected = Array(repeating: ["begin 3", "end 3"], count: round).flatMap { $0 }
                #expect(try await self.answers(adversary) == expected)
            }
            try await self.expectNothingLeft(adversary)
            #expect(connection.error == nil)
            // This side can still open a session.
            let session = try await adversary.session(connection)
            #expect(session.error == nil)
        }
    }

    /// Proton cannot act as the peer here, because it ends the connection at a `begin` that arrives after its own
    /// `end`.
    @Test func theNextSessionOnTheChannelIsAccepted() async throws {
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin(channel: 3), Self.end(3), .begin(channel: 3))
            #expect(try await self.answers(adversary) == ["begin 3", "end 3"])
            let incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let first)? = try await incoming.next(isolation: nil),
                case .session(let second)? = try await incoming.next(isolation: nil)
            else { throw Unexpected(what: "no session") }
            await expectError(.closed) { try await first.accept() }
            first.refuse(AMQPError(scope: .session, condition: .notFound))
            try await second.accept()
            await adversary.peer.settle()
            #expect(try await self.answers(adversary) == ["begin 3", "end 3", "begin 3"])
            try await adversary.send(.attach("l", handle: 0, isReceiver: true, channel: 3))
            #expect(try await connection.acceptSender().error == nil)
        }
    }

    @Test(arguments: Cut.allCases)
    func severalSessionsWithLinksInside(cut: Cut) async throws {
        try await withAdversary(.server) { connection, adversary in
            let frames: [Frame] = [
                .begin(channel: 0), .attach("a", handle: 0, isReceiver: true, channel: 0), .begin(channel: 1),
                .attach("b", handle: 7, isReceiver: false, channel: 1), Self.end(0), .begin(channel: 0),
                Self.end(1), .begin(channel: 2), Self.end(0), Self.end(2), .begin(channel: 1),
            ]
            try await self.send(frames, cut, adversary)
            let answers = try await self.answers(adversary)
            #expect(answers.filter { $0.hasSuffix(" 0") } == ["begin 0", "end 0", "begin 0", "end 0"], "\(answers)")
            #expect(answers.filter { $0.hasSuffix(" 1") } == ["begin 1", "end 1"], "\(answers)")
            #expect(answers.filter { $0.hasSuffix(" 2") } == ["begin 2", "end 2"], "\(answers)")
            #expect(answers.count == 8, "\(answers)")
            try await adversary.send(Self.end(1))
            try await self.expectNothingLeft(adversary)
            #expect(connection.error == nil)
        }
    }

    @Test func sessionsMayEndWhileTheyAreAccepted() async throws {
        try await withAdversary(.server) { connection, adversary in
            let accepting = begin {
                var accepted = 0
                let incoming = connection.incoming.makeAsyncIterator()
                while case .session(let session)? = try await incoming.next(isolation: nil) {
                    if (try? await session.accept()) != nil { accepted += 1 }
                }
                return accepted
            }
            var random = SeededGenerator(seed: SeededGenerator.seed())
            for round in 0..<200 {
                let channel = UInt16(round % 3)
                try await adversary.send(.begin(channel: channel))
                for _ in 0..<Int.random(in: 0...3, using: &random) { await Task.yield() }
                try await adversary.send(Self.end(channel))
            }
            try await self.expectNothingLeft(adversary)
            let answers = try await self.answers(adversary)
            #expect(answers.count == 400)
            for channel in 0..<3 {
                let own = answers.filter { $0.hasSuffix(" \(channel)") }
                #expect(own == (0..<own.count).map { $0 % 2 == 0 ? "begin \(channel)" : "end \(channel)" })
            }
            #expect(connection.error == nil)
            try await adversary.send(Frame(.close, []))
            _ = try await accepting.value
        }
    }

    /// Proton drops the frames of a link whose session has not begun.
    @Test func linksDetachedOrRefusedBeforeTheirSessionIsAccepted() async throws {
        try await withAdversary(.server, { $0.incomingLinkLimit = 2 }) { connection, adversary in
            try await adversary.send(
                .begin(),
                .attach("a", handle: 0, isReceiver: true),
                .attach("b", handle: 1, isReceiver: false),
                .attach("refused", handle: 2, isReceiver: false),
                .detach(0)
            )
            #expect(try await self.answers(adversary) == [])
            let incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next(isolation: nil) else {
                throw Unexpected(what: "no session")
            }
            try await session.accept()
            await adversary.peer.settle()
            var answers = try await self.answers(adversary)
            #expect(answers.first == "begin 0")
            #expect(Set(answers.dropFirst()) == ["attach 0 a", "attach 0 refused", "detach 0"], "\(answers)")
            #expect(answers.count { $0 == "detach 0" } == 2, "\(answers)")
            guard case .sender(let first)? = try await incoming.next(isolation: nil),
                case .receiver(let second)? = try await incoming.next(isolation: nil)
            else { throw Unexpected(what: "no links") }
            await expectError(.closed) { try await first.accept() }
            let receiver = try await second.accept()
            defer { withExtendedLifetime(receiver) {} }
            await adversary.peer.settle()
            answers = try await self.answers(adversary)
            #expect(answers.last == "attach 0 b")
            #expect(connection.error == nil)
        }
    }

    @Test func noEndlessLinksOfASessionThatIsNotAccepted() async throws {
        try await withAdversary(
            .server,
            {
                $0.incomingLinkLimit = 3
                $0.incomingLimit = 4
            }
        ) { connection, adversary in
            try await adversary.send(.begin())
            for _ in 0..<100 where connection.error == nil {
                try await adversary.send(.attach("a", handle: 0, isReceiver: true), .detach(0))
            }
            try await adversary.expectClose(.resourceLimitExceeded, "waits to be accepted", connection)
        }
    }

    /// The peer detaches a link and attaches one of the same name after it. It must read the detach first.
    @Test(arguments: bothRoles)
    func aDetachIsAnsweredBeforeAnAttachInTheSameWrite(role: ConnectionHandler.Role) async throws {
        try await withSenders(role) { senders, connection, adversary in
            let name = senders[0].name
            let before = try await adversary.peer.framesOfLibrary().count
            var bytes = ByteBuffer()
            for frame in [Frame.detach(0), .attach(.string(name), handle: 0, isReceiver: true)] {
                bytes.writeImmutableBuffer(try frame.encoded())
            }
            try await adversary.peer.run { [bytes] peer in
                // This simulates an application that accepts the second link in the turn in which the first one ends.
                peer.channel.pipeline.fireChannelRead(bytes)
                if case .sender(let status, _)? = peer.handler.incoming.poll() {
                    _ = peer.handler.sessions.sender(status)?.accept(.init(target: "q"))
                }
                peer.channel.pipeline.fireChannelReadComplete()
            }
            let frames = try await adversary.peer.framesOfLibrary().dropFirst(before)
            let ends = frames.filter { $0.code == .attach || $0.code == .detach }.map(\.code)
            // A client refuses the second link.
            #expect(ends == (role == .server ? [.detach, .attach] : [.detach, .attach, .detach]))
            #expect(connection.error == nil)
        }
    }

    /// The application opens a link of the same name in the turn in which the peer detaches the old link.
    @Test func aDetachIsAnsweredBeforeTheNameIsUsedAgain() async throws {
        try await withSenders(.client) { senders, connection, adversary in
            let name = senders[0].name
            let before = try await adversary.peer.framesOfLibrary().count
            let bytes = try Frame.detach(0).encoded()
            try await adversary.peer.run { [bytes] peer in
                peer.channel.pipeline.fireChannelRead(bytes)
                if let session = peer.handler.sessions.values.first(where: { _ in true }) {
                    var configuration = AMQPSender.Configuration(target: "q")
                    configuration.name = name
                    peer.handler.outbox.post(.session(session.status, .openSender(configuration, within: nil, Reply())))
                }
                peer.channel.pipeline.fireChannelReadComplete()
            }
            let frames = try await adversary.peer.framesOfLibrary().dropFirst(before)
            #expect(frames.filter { $0.code == .attach || $0.code == .detach }.map(\.code) == [.detach, .attach])
            #expect(connection.error == nil)
        }
    }
}
