import Foundation
import QpidProton
import Testing

/// Random, truncated and bit-flipped bytes over TCP: an error or a close, no crash, no hang, and the next connection works.
///
/// The seed of a run is printed; QPID_PROTON_SEED sets it.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct MalformedBytesTests {
    private static let seed: UInt64 = {
        let given = ProcessInfo.processInfo.environment["QPID_PROTON_SEED"].flatMap { UInt64($0) }
        let seed = given ?? .random(in: .min ... .max)
        print("MalformedBytesTests: QPID_PROTON_SEED=\(seed)")
        return seed
    }()

    @Test func listenerSurvivesMalformedClients() async throws {
        let stream = try FrameBytes.client()
        let cases = (0..<300).map { Damage.apply(to: stream, seed: Self.seed &+ $0) }
        var configuration = AMQPListener.Configuration()
        // A client that is cut short is given up soon.
        configuration.connection.openTimeout = .seconds(1)
        configuration.connection.idleTimeout = .seconds(1)
        configuration.connection.operationTimeout = .seconds(1)
        let messages = (0..<20).map { AMQPMessage(body: "message \($0)") }
        try await TestListener.with(configuration, offering: messages) { listener in
            for batch in stride(from: 0, to: cases.count, by: 50) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for bytes in cases[batch..<min(batch + 50, cases.count)] {
                        // Returns when the listener has closed the socket; a deadline of its own tells of a hang.
                        group.addTask { _ = try await exchange(bytes, with: listener.listener.port) { _ in false } }
                    }
                    try await group.waitForAll()
                }
                let connection = try await AMQPConnection.connect(to: listener.url)
                let sender = try await connection.openSession().openSender(to: "queue")
                #expect(try await sender.send(AMQPMessage(body: "well-formed")) == .accepted)
                try await connection.close()
            }
        }
    }

    @Test func undamagedBytesAreUnderstood() async throws {
        try await TestListener.with { listener in
            let stream = try FrameBytes.client().flatMap { $0 }
            _ = try await exchange(stream, with: listener.listener.port) { _ in false }
            try await waitUntil("the end") { listener.ends.count == 1 }
            #expect(listener.ends == [nil])
            #expect(listener.connections.first?.peer.containerID == "raw")
        }
    }

    @Test func clientSurvivesMalformedServers() async throws {
        let stream = try FrameBytes.server()
        var configuration = AMQPConnection.Configuration()
        configuration.openTimeout = .seconds(5)
        configuration.operationTimeout = .seconds(1)
        configuration.acceptsIncoming = true
        let settings = configuration
        for number in 0..<300 {
            let seed = Self.seed &+ UInt64(number)
            // The first is the stream as it should be.
            let bytes = number == 0 ? stream.flatMap { $0 } : Damage.apply(to: stream, seed: seed)
            try await ScriptedPeer.with(login: .init(greeting: bytes)) { _, url in
                let error = try await failure(of: "the connection, seed \(seed)") {
                    let connection = try await AMQPConnection.connect(to: url, configuration: settings)
                    var link = AMQPReceiver.Configuration(source: "from")
                    link.name = "link"
                    let receiver = try await connection.openSession().openReceiver(link)
                    while let delivery = try await receiver.next() {
                        _ = try? delivery.message
                        delivery.accept()
                    }
                    try await connection.waitUntilClosed()
                    throw AMQPError(.connection, .closed, "closed without an error")
                }
                if number == 0 { #expect(error.condition == .connectionForced && error.isFromPeer, "\(error)") }
            }
        }
        try await TestListener.with { try await AMQPConnection.connect(to: $0.url).close() }
    }
}

/// Makes bytes that no peer should send.
enum Damage {
    /// The generator of one case: SplitMix64.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            self.state &+= 0x9e37_79b9_7f4a_7c15
            var word = self.state
            word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
            word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
            return word ^ (word >> 31)
        }
    }

    /// Damages a stream, given as its headers and frames, in one of seven ways that the seed chooses.
    static func apply(to stream: [[UInt8]], seed: UInt64) -> [UInt8] {
        var generator = Generator(state: seed)
        func random(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        var parts = stream
        var bytes = Array(stream.joined())
        switch Int.random(in: 0..<7, using: &generator) {
        case 0: return random(Int.random(in: 1...2_000, using: &generator))
        case 1: return Array(bytes.prefix(Int.random(in: 1..<bytes.count, using: &generator)))
        case 2, 3:
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] ^=
                    1 << UInt8.random(in: 0..<8, using: &generator)
            }
            return bytes
        case 4:
            // A frame whose size is right and whose content is not.
            let index = Int.random(in: 3..<parts.count, using: &generator)
            parts[index] = Array(parts[index].prefix(8)) + random(parts[index].count - 8)
        case 5:
            // Frames in another order, twice, or not at all.
            let index = Int.random(in: 3..<parts.count, using: &generator)
            let other = Int.random(in: 3..<parts.count, using: &generator)
            if Bool.random(using: &generator) {
                parts.swapAt(index, other)
            } else {
                parts.insert(parts[other], at: index)
            }
            if Bool.random(using: &generator) { parts.remove(at: index) }
        default:
            // A part of one frame is replaced by another's.
            let index = Int.random(in: 3..<parts.count, using: &generator)
            let other = Int.random(in: 3..<parts.count, using: &generator)
            parts[index] = Array(parts[index].prefix(12)) + parts[other].dropFirst(12)
        }
        return Array(parts.joined())
    }
}
