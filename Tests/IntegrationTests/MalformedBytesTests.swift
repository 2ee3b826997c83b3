// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// Random, truncated and bit-flipped bytes over TCP. They lead to an error or a close, never to a crash or a hang, and
/// the next connection works.
///
/// The run prints its seed. `QPID_PROTON_SEED` sets the seed, and `QPID_PROTON_CASES` the number of cases. Case n of a
/// run equals the first case of a run whose seed is n higher.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct MalformedBytesTests {
    private static let seed: UInt64 = {
        let given = ProcessInfo.processInfo.environment["QPID_PROTON_SEED"].flatMap { UInt64($0) }
        let seed = given ?? .random(in: .min ... .max)
        print("MalformedBytesTests: QPID_PROTON_SEED=\(seed)")
        return seed
    }()

    private static let cases = ProcessInfo.processInfo.environment["QPID_PROTON_CASES"].flatMap { Int($0) } ?? 300

    /// The timeout for a truncated client: short, but long enough for a client under a sanitizer.
    #if THREAD_SANITIZER || ADDRESS_SANITIZER
        private static let timeout: Duration = .seconds(10)
    #else
        private static let timeout: Duration = .seconds(3)
    #endif

    @Test func listenerSurvivesMalformedClients() async throws {
        let stream = try FrameBytes.client()
        let opening = stream.prefix(FrameBytes.opening).joined().count
        let cases = (0..<Self.cases).map { Damage.apply(to: stream, seed: Self.seed &+ UInt64($0)) }
        var configuration = AMQPListener.Configuration()
        configuration.connection.openTimeout = Self.timeout
        configuration.connection.idleTimeout = Self.timeout
        configuration.connection.operationTimeout = Self.timeout
        let messages = (0..<20).map { AMQPMessage(body: "message \($0)") }
        try await TestListener.with(configuration, offering: messages) { listener in
            for batch in stride(from: 0, to: cases.count, by: 50) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for bytes in cases[batch..<min(batch + 50, cases.count)] {
                        // The task returns when the listener has closed the socket. A deadline of its own detects a
                        // hang.
                        group.addTask { try await Self.send(bytes, opening, to: listener.listener.port) }
                    }
                    try await group.waitForAll()
                }
                let connection = try await AMQPConnection.connect(to: listener.url)
                let sender = try await connection.openSession().openSender(to: "queue")
                #expect(try await sender.send(AMQPMessage(body: "well-formed")) == .accepted)
                try await connection.close().check()
            }
        }
    }

    @Test func undamagedBytesAreUnderstood() async throws {
        try await TestListener.with { listener in
            let stream = try FrameBytes.client()
            let opening = stream.prefix(FrameBytes.opening).joined().count
            try await Self.send(Array(stream.joined()), opening, to: listener.listener.port)
            try await waitUntil("the end") { listener.ends.count == 1 }
            #expect(listener.ends == [nil])
            #expect(listener.connections.first?.peer.containerID == "raw")
            try await waitUntil("the messages") { listener.deliveries.count == 2 }
        }
    }

    /// Sends bytes. The bytes after the opening follow once the listener has attached the links and granted credit.
    private static func send(_ bytes: [UInt8], _ opening: Int, to port: Int) async throws {
        let marks: [[UInt8]] = [[0xa1, 3] + Array("out".utf8), [0xa1, 2] + Array("in".utf8), [0, 0x53, 0x13]]
        let rest = Array(bytes.dropFirst(opening))
        _ = try await exchange(Array(bytes.prefix(opening)), with: port, rest: rest, after: marks) { _ in false }
    }

    @Test func clientSurvivesMalformedServers() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.openTimeout = .seconds(1)
        configuration.operationTimeout = .seconds(1)
        configuration.idleTimeout = .seconds(1)
        let settings = configuration
        for batch in stride(from: 0, to: Self.cases, by: 50) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in batch..<min(batch + 50, Self.cases) {
                    let seed = Self.seed &+ UInt64(number)
                    group.addTask { try await Self.beDamaged(seed, settings) }
                }
                try await group.waitForAll()
            }
        }
        try await TestListener.with { try await AMQPConnection.connect(to: $0.url).close() }
    }

    /// Runs a dialogue with a peer that damages one of its writes.
    private static func beDamaged(_ seed: UInt64, _ configuration: AMQPConnection.Configuration) async throws {
        var login = ScriptedPeer.Login()
        // The writes are the SASL header, mechanisms, outcome, header, open, begin, attach, flow, attach, three
        // transfers, disposition, …
        let damaged = Int(seed % 16) + 1
        login.damage = { bytes, number in number == damaged ? Damage.apply(to: [bytes], seed: seed) : bytes }
        try await ScriptedPeer.with(login: login) { _, url in
            try await within("the end of the dialogue, seed \(seed)") {
                try? await AMQPConnection.withConnection(to: url, configuration: configuration) { connection in
                    let session = try await connection.openSession()
                    let sender = try await session.openSender(to: "queue")
                    let receiver = try await session.openReceiver(from: "two-messages")
                    for _ in 0..<2 { try await receiver.receive(timeout: .seconds(1))?.accept() }
                    try await sender.send(AMQPMessage(body: "x"))
                    try await receiver.close().check()
                    try await session.close().check()
                }
            }
        }
    }

    /// Proton 0.37 accepts these frames, and frees memory twice when the session or the link ends.
    @Test(arguments: [
        (6, AMQPCondition.illegalState),  // the begin
        (7, .sessionHandleInUse),  // the attach
    ])
    func sessionBegunOrHandleAttachedTwice(_ number: Int, _ condition: AMQPCondition) async throws {
        var login = ScriptedPeer.Login()
        login.damage = { bytes, written in
            guard written == number else { return bytes }
            var other = bytes
            // Another link named "LINK" uses the same handle.
            if number == 7, let name = bytes.firstRange(of: Array("link".utf8)) {
                other.replaceSubrange(name, with: Array("LINK".utf8))
            }
            return bytes + other
        }
        try await ScriptedPeer.with(login: login) { _, url in
            let connection = try await AMQPConnection.connect(to: url)
            let error = try await failure(of: "the connection") {
                let session = try await connection.openSession()
                var settings = AMQPSender.Configuration(target: "queue")
                settings.name = "link"
                let sender = try await session.openSender(settings)
                try await sender.send(AMQPMessage(body: "x"))
                try await session.close().check()
                try await connection.waitUntilClosed()
            }
            #expect(error.condition == condition, "\(error)")
        }
    }

    @Test func undamagedDialogueIsUnderstood() async throws {
        try await ScriptedPeer.with { _, url in
            try await AMQPConnection.withConnection(to: url) { connection in
                let receiver = try await connection.openSession().openReceiver(from: "two-messages")
                for _ in 0..<2 {
                    let delivery = try #require(try await receiver.next())
                    #expect(try delivery.decodeMessage().bodyString == "hello")
                    delivery.accept()
                }
            }
        }
    }
}

/// Generates bytes that no peer should send.
enum Damage {
    /// Damages a stream of headers and frames in one of seven ways, which depends on the seed.
    static func apply(to stream: [[UInt8]], seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        func random(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        var parts = stream
        var bytes = Array(stream.joined())
        guard !bytes.isEmpty else { return random(8) }
        let first = min(3, parts.count - 1)
        func index() -> Int { Int.random(in: first..<parts.count, using: &generator) }
        switch Int.random(in: 0..<7, using: &generator) {
        case 0: return random(Int.random(in: 1...2_000, using: &generator))
        case 1: return Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &generator)))
        case 2, 3:
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] ^=
                    1 << UInt8.random(in: 0..<8, using: &generator)
            }
            return bytes
        case 4:
            // The frame has the correct size, but random content.
            let index = index()
            parts[index] = Array(parts[index].prefix(8)) + random(parts[index].count - 8)
        case 5:
            // Two frames swap places, or one is duplicated. One of them may also be omitted.
            let (index, other) = (index(), index())
            if Bool.random(using: &generator) {
                parts.swapAt(index, other)
            } else {
                parts.insert(parts[other], at: index)
            }
            if Bool.random(using: &generator) { parts.remove(at: index) }
        default:
            // A part of another frame replaces a part of this one.
            let (index, other) = (index(), index())
            parts[index] = Array(parts[index].prefix(12)) + parts[other].dropFirst(12)
        }
        return Array(parts.joined())
    }
}
