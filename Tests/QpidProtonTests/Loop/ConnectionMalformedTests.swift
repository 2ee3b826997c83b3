// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Bytes that a correct peer never sends. They cause errors, and no crash, hang or endless wait.
///
/// Each case prints its seed. To repeat a failure, put that seed in place of the random one.
@Suite(.deadline(minutes: 5))
struct ConnectionMalformedTests {
    /// Sends the bytes and the end of the socket to a library that makes every call. All calls must return.
    ///
    /// - Returns: The number of messages that the library received.
    @discardableResult
    private func hear(_ bytes: [UInt8], as role: ConnectionHandler.Role, pieces: Int, seed: UInt64) async throws -> Int
    {
        let heard = Heard()
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = role == .server
        let peer = try await InMemoryPeer(role: role, configuration: configuration, script: PeerScript.mute)
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        let library = begin {
            let connection = AMQPConnection(parts, try await parts.opened.value(), peer.handler.configuration)
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await Self.client(connection, heard) }
                group.addTask { await Self.server(connection, heard) }
            }
        }
        let chunks = stride(from: 0, to: bytes.count, by: pieces).map {
            ByteBuffer(bytes: bytes[$0..<min(bytes.count, $0 + pieces)])
        }
        for chunk in chunks {
            try await peer.run { $0.inject(chunk) }
            // The library's tasks respond to the received bytes.
            for _ in 0..<3 { await Task.yield() }
        }
        try await peer.loseConnection()
        do {
            try await library.value
        } catch let error as AMQPError {
            #expect(error.scope == .connection, "seed \(seed): \(error)")
        } catch {
            Issue.record("seed \(seed): \(error)")
        }
        await peer.finish()
        return heard.count
    }

    private final class Heard: Sendable {
        private let messages = Atomic(0)
        var count: Int { self.messages.load(ordering: .relaxed) }
        func add() { self.messages.add(1, ordering: .relaxed) }
    }

    @Sendable private static func client(_ connection: AMQPConnection, _ heard: Heard) async {
        guard let session = try? await connection.openSession() else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                var receiving = AMQPReceiver.Configuration(source: "q", window: .messages(4))
                receiving.name = "receiver"
                guard let receiver = try? await session.openReceiver(receiving) else { return }
                while let delivery = try? await receiver.next() {
                    _ = try? delivery.decodeMessage()
                    delivery.accept()
                    heard.add()
                }
            }
            group.addTask {
                var sending = AMQPSender.Configuration(target: "q")
                sending.name = "sender"
                guard let sender = try? await session.openSender(sending) else { return }
                for size in [0, 10, 70_000] { _ = try? await sender.send(AMQPMessage(body: payload(size))) }
                await sender.close()
            }
        }
    }

    @Sendable private static func server(_ connection: AMQPConnection, _ heard: Heard) async {
        var incoming = connection.incoming.makeAsyncIterator()
        await withTaskGroup(of: Void.self) { group in
            while let wish = try? await incoming.next() {
                switch wish {
                case .session(let session): _ = try? await session.accept()
                case .sender(let sender): _ = try? await sender.accept()
                case .receiver(let wish):
                    group.addTask {
                        guard let receiver = try? await wish.accept() else { return }
                        while let delivery = try? await receiver.next() {
                            delivery.accept()
                            heard.add()
                        }
                    }
                }
            }
        }
    }

    private static let header: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]

    private func bytes(_ frames: [Frame]) throws -> [UInt8] {
        try Self.header + frames.flatMap { Array(try $0.encoded().readableBytesView) }
    }

    @Test(arguments: [ConnectionHandler.Role.client, .server])
    func theDialogueItselfIsUnderstood(role: ConnectionHandler.Role) async throws {
        let bytes = try self.bytes(try await Dialogue.frames(role))
        #expect(bytes.count > 70_000)
        for pieces in [1_000_000, 1_000, 7] {
            let count = try await self.hear(bytes, as: role, pieces: pieces, seed: 0)
            // If the bytes arrive in one piece, the end precedes the first request of the tasks.
            if pieces == 7 { #expect(count == 3) }
        }
    }

    @Test(arguments: [ConnectionHandler.Role.client, .server])
    func randomBytes(role: ConnectionHandler.Role) async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<150 {
            var bytes = round % 5 == 0 ? [] : Self.header
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                // The frames have random bodies but correct sizes, so that they are decoded.
                let count = Int.random(in: 0...60, using: &random)
                var frame = withUnsafeBytes(of: UInt32(11 + count).bigEndian) { Array($0) }
                frame += [2, 0, 0, UInt8.random(in: 0...2, using: &random), 0x00, 0x53]
                frame.append(UInt8.random(in: 0x10...0x18, using: &random))
                frame += (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
                if Bool.random(using: &random), count > 3 {
                    frame.replaceSubrange(11..<14, with: [0xC0, UInt8(count - 2), 9])
                }
                // The `open` is first, because the library reads no other frame before it.
                if bytes.count == 8, Bool.random(using: &random) {
                    bytes += Array(
                        try Frame(.open, [.string("peer"), .null, .uint(65_536)]).encoded().readableBytesView
                    )
                    bytes += Array(
                        try Frame(.begin, [.null, .uint(0), .uint(9), .uint(9)]).encoded().readableBytesView
                    )
                }
                bytes += frame
            }
            if round % 7 == 0 { bytes += (0..<50).map { _ in UInt8.random(in: .min ... .max, using: &random) } }
            try await self.hear(bytes, as: role, pieces: 1 << Int.random(in: 0...8, using: &random), seed: seed)
        }
    }

    @Test(arguments: [ConnectionHandler.Role.client, .server])
    func truncatedDialogues(role: ConnectionHandler.Role) async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let frames = try await Dialogue.frames(role)
        for _ in 0..<100 {
            var bytes = try self.bytes(frames)
            let isInHead = Bool.random(using: &random)
            let end = Int.random(in: 0..<(isInHead ? min(1_000, bytes.count) : bytes.count), using: &random)
            bytes.removeLast(bytes.count - end)
            try await self.hear(bytes, as: role, pieces: Int.random(in: 1...9_000, using: &random), seed: seed)
        }
    }

    @Test(arguments: [ConnectionHandler.Role.client, .server])
    func flippedBits(role: ConnectionHandler.Role) async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let frames = try await Dialogue.frames(role)
        for _ in 0..<250 {
            var frames = frames
            // The library does not parse the payload. A short payload makes the flipped bits hit the parsed parts.
            for index in frames.indices {
                frames[index].payload = ByteBuffer(frames[index].payload.readableBytesView.prefix(30))
            }
            var bytes = try self.bytes(frames)
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
            }
            try await self.hear(bytes, as: role, pieces: Int.random(in: 1...3_000, using: &random), seed: seed)
        }
    }

    /// Frames that would make Proton abort the process, answer with nonsense, or run for minutes.
    @Test func framesThatProtonCannotBear() async throws {
        let first = payload(5)
        let cases: [(AMQPCondition, [Frame])] = [
            (.invalidField, [.transfer(handle: 0, id: nil, tag: [1], more: true, payload: first)]),
            (
                .invalidField,
                [
                    .transfer(handle: 0, id: 0, tag: [1], payload: first),
                    .transfer(handle: 0, id: nil, more: true, payload: first),
                ]
            ),
            (
                .invalidField,
                [
                    .transfer(handle: 0, id: 0, tag: [1], more: true, payload: first),
                    .transfer(handle: 0, id: nil, more: true, aborted: true),
                    .transfer(handle: 0, id: nil, tag: [2], more: true, payload: first),
                ]
            ),
            (.notAllowed, [.transfer(handle: 1, id: 0, tag: [1], payload: first)]),
            (
                .invalidField,
                [
                    Frame(
                        .disposition,
                        [.bool(true), .uint(0x8000_0003), .uint(2), .bool(true), .described(0x24, .list([]))]
                    )
                ]
            ),
            (
                .decodeError,
                [
                    Frame(
                        .transfer,
                        [.uint(0), .ushort(0), .binary(first), .uint(0), .bool(false), .bool(true)],
                        payload: first
                    )
                ]
            ),
        ]
        for (condition, frames) in cases {
            try await withSession { session, peer in
                let receiver = try await session.openReceiver(from: "q")
                let sender = try await session.openSender(to: "q")
                try sender.trySend(encoded: payload(3))
                await peer.settle()
                try await peer.run { peer in for frame in frames { try peer.inject(frame) } }
                #expect(session.connection.error?.condition == condition)
                while let delivery = try? await receiver.next() { delivery.accept() }
                #expect(sender.error?.condition == condition)
            }
        }
    }

    /// A list that claims fewer fields than it has. Proton reads all of them.
    @Test func listWithAnotherNumberOfFields() async throws {
        try await withSession { session, peer in
            _ = try await session.openReceiver(from: "q")
            var bytes = try Frame.transfer(handle: 0, id: nil, tag: [1], more: true, payload: payload(5)).encoded()
            // The offset skips the frame header, the descriptor, and the list's constructor and size.
            #expect(bytes.getInteger(at: 11, as: UInt8.self) == 0xC0)
            bytes.setInteger(UInt8(1), at: 13)
            try await peer.run { [bytes] in $0.inject(bytes) }
            #expect(session.connection.error?.condition == .decodeError)
        }
    }

    /// Complete frames that are out of order, duplicated or missing.
    @Test(arguments: [ConnectionHandler.Role.client, .server])
    func shuffledFrames(role: ConnectionHandler.Role) async throws {
        let seed = SeededGenerator.seed()
        var random = SeededGenerator(seed: seed)
        let frames = try await Dialogue.frames(role)
        for _ in 0..<250 {
            var shuffled = frames
            for _ in 0..<Int.random(in: 1...5, using: &random) where shuffled.count > 2 {
                let index = Int.random(in: 1..<shuffled.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: shuffled.remove(at: index)
                case 1: shuffled.insert(shuffled[index], at: Int.random(in: 1...shuffled.count, using: &random))
                case 2: shuffled.swapAt(index, Int.random(in: 1..<shuffled.count, using: &random))
                default:
                    guard !shuffled[index].fields.isEmpty else { continue }
                    let field = Int.random(in: 0..<shuffled[index].fields.count, using: &random)
                    let values: [AMQPValue] = [
                        .null, .uint(.max), .uint(0), .int(-1), .string("x"), .list([]), .map([:]), .bool(true),
                        .ulong(.max),
                        .binary(payload(40)), .symbol("y"), .uint(0x7FFF_FFFF), .ushort(.max),
                    ]
                    shuffled[index].fields[field] = values.randomElement(using: &random) ?? .null
                }
            }
            let bytes = try self.bytes(shuffled)
            try await self.hear(bytes, as: role, pieces: Int.random(in: 1...9_000, using: &random), seed: seed)
        }
    }

    /// Proton treats handles from 2³¹ on as those of unattached links.
    @Test func aHandleThatProtonCannotBear() async throws {
        try await withSession { session, peer in
            try await peer.run { peer in
                let fields: [AMQPValue] = [.string("x"), .uint(0x8000_0000), .bool(false)]
                try peer.inject(Frame(.attach, fields))
            }
            #expect(session.connection.error?.condition == .invalidField)
        }
    }

    /// An attach that crosses the end of its session is discarded with the session.
    @Test func anAttachOnASessionThatIsClosed() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        try await withSession(configuration: configuration, { .notClosing }) { session, peer in
            let closing = begin { try await session.close().check() }
            await peer.settle()
            try await peer.run { peer in
                pn_link_open(pn_sender(peer.sessions[0], "late"))
                pn_session_close(peer.sessions[0])
            }
            try await closing.value
            #expect(session.connection.error == nil)
            let next = try await session.connection.openSession()
            #expect(try await next.openSender(to: "q").error == nil)
        }
    }
}
