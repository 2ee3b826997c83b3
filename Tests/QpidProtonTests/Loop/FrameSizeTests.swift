// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// P62: no frame of this side is larger than the peer's max-frame-size.
@Suite(.deadline)
struct FrameSizeTests {
    private static let long = String(repeating: "ä", count: 50_000)
    /// The peer's own texts must fit into the library's frames.
    private static let medium = String(repeating: "ä", count: 10_000)

    private static func serving() -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        return configuration
    }

    private static func peer(_ size: UInt32, credit: Int? = 100) -> PeerScript {
        PeerScript(credit: credit, maxFrameSize: size)
    }

    /// Returns the type and size of each frame of the library.
    private func sizes(_ peer: InMemoryPeer) async throws -> [(code: UInt8, size: Int)] {
        var bytes = try await peer.run { $0.toPeer.record }
        bytes.moveReaderIndex(forwardBy: 8)
        var sizes: [(UInt8, Int)] = []
        while let size = bytes.getInteger(at: bytes.readerIndex, as: UInt32.self), size >= 8,
            let frame = bytes.readSlice(length: Int(size))
        {
            if size > 8 { sizes.append((frame.getInteger(at: frame.readerIndex + 10) ?? 0, Int(size))) }
        }
        return sizes
    }

    private func expectFrames(
        _ peer: InMemoryPeer,
        upTo limit: Int,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        for (code, size) in try await self.sizes(peer).dropFirst() {
            #expect(size <= limit, "a frame of the code \(code) has \(size) bytes", sourceLocation: sourceLocation)
        }
    }

    // MARK: Attaching

    @Test(arguments: [512, 65_536])
    func anAddressThatDoesNotFitIsRefusedBeforeAnythingIsSent(limit: Int) async throws {
        let address = String(repeating: "a", count: limit == 512 ? 500 : 70_000)
        try await withSession({ Self.peer(UInt32(limit)) }) { session, peer in
            let error = await expectError(.invalidArgument) { try await session.openSender(to: address) }
            #expect(error?.scope == .call)
            #expect(error?.detail.contains("frames of \(limit) bytes") == true, "\(error as Any)")
            await expectError(.invalidArgument) { try await session.openReceiver(from: address) }
            #expect(try await peer.count(.attach) == 0)
            #expect(session.connection.error == nil && session.error == nil)
            // Nothing remains of the links.
            let sender = try await session.openSender(to: "q")
            let outcome = try await sender.enqueue(encoded: payload(10)).outcome()
            #expect(outcome == .accepted)
            try await self.expectFrames(peer, upTo: limit)
        }
    }

    @Test func eachPartOfAnAttachThatDoesNotFitIsRefused() async throws {
        try await withSession({ Self.peer(65_536) }) { session, peer in
            var senders: [AMQPSender.Configuration] = []
            var receivers: [AMQPReceiver.Configuration] = []
            for part in 0..<7 {
                var source = AMQPSource(address: "q")
                var target = AMQPTarget(address: "q")
                var sender = AMQPSender.Configuration()
                var receiver = AMQPReceiver.Configuration()
                let symbol = AMQPSymbol(String(repeating: "s", count: 70_000))
                switch part {
                case 0: (sender.name, receiver.name) = (Self.long, Self.long)
                case 1:
                    (sender.properties, receiver.properties) = (["p": .string(Self.long)], ["p": .string(Self.long)])
                case 2: source.filters = [.selector(Self.long)]
                case 3: (source.capabilities, target.capabilities) = ([symbol], [symbol])
                case 4:
                    source.dynamicNodeProperties = ["p": .string(Self.long)]
                    target.dynamicNodeProperties = ["p": .string(Self.long)]
                case 5: (source.address, target.address) = (Self.long, nil)
                default: (source.address, target.address) = (nil, Self.long)
                }
                (sender.source, sender.target, receiver.source, receiver.target) = (source, target, source, target)
                senders.append(sender)
                receivers.append(receiver)
            }
            for sender in senders { await expectError(.invalidArgument) { try await session.openSender(sender) } }
            for receiver in receivers {
                await expectError(.invalidArgument) { try await session.openReceiver(receiver) }
            }
            #expect(try await peer.count(.attach) == 0)
            #expect(session.connection.error == nil && session.error == nil)
            _ = try await session.openReceiver(from: "q")
        }
    }

    /// The computed size is the true size, or a few bytes more. The library cannot compute the width of the handle and
    /// of the lists in advance.
    @Test(arguments: UInt64(0)..<12)
    func theComputedSizeIsProtonsSizeOrAFewBytesMore(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let configuration = Self.randomReceiver(&random, length: 700)
        var found = 0
        try await withSession({ Self.peer(65_536) }) { session, peer in
            _ = try await session.openReceiver(configuration)
            found = try await self.sizes(peer).first { $0.code == 0x12 }?.size ?? 0
        }
        let size = found
        try #require(size > 522, "seed \(seed)")
        // Newer versions encode some lists in fewer bytes.
        let more = ProtonVersion.loaded == ProtonVersion.tested ? 10 : 20
        try await withSession({ Self.peer(UInt32(size + more)) }) { session, peer in
            _ = try await session.openReceiver(configuration)
        }
        try await withSession({ Self.peer(UInt32(size - 1)) }) { session, peer in
            await expectError(.invalidArgument) { try await session.openReceiver(configuration) }
            let attaches = try await peer.count(.attach)
            #expect(attaches == 0)
        }
    }

    private static func randomText(_ random: inout SeededGenerator, _ length: Int) -> String {
        let letters = ["a", "Z", "é", "漢", "🙂", "\u{301}"]
        var text = ""
        while text.utf8.count < length { text += letters[Int.random(in: letters.indices, using: &random)] }
        return text
    }

    private static func randomReceiver(_ random: inout SeededGenerator, length: Int) -> AMQPReceiver.Configuration {
        func text(_ random: inout SeededGenerator) -> String {
            self.randomText(&random, Int.random(in: 0...length / 2, using: &random))
        }
        var configuration = AMQPReceiver.Configuration(source: AMQPSource(address: Self.randomText(&random, length)))
        configuration.name = "n" + text(&random)
        if Bool.random(using: &random) {
            configuration.source.filters = [.selector(text(&random)), .streamOffset(.offset(.max))]
        }
        if Bool.random(using: &random) { configuration.source.capabilities = ["queue", "topic"] }
        if Bool.random(using: &random) { configuration.source.distributionMode = .copy }
        if Bool.random(using: &random) {
            configuration.source.timeout = .seconds(1 << Int64.random(in: 0...20, using: &random))
        }
        let policies: [AMQPTerminusExpiryPolicy] = [.sessionEnd, .linkDetach, .connectionClose, .never]
        configuration.source.expiryPolicy = policies[Int.random(in: 0..<4, using: &random)]
        if Bool.random(using: &random) { configuration.target.address = text(&random) }
        if Bool.random(using: &random) {
            configuration.properties = ["a": .list([.uint(3), .string(text(&random))]), "b": .map(["c": .double(1)])]
        }
        if Bool.random(using: &random) { configuration.maxMessageSize = nil }
        return configuration
    }

    // MARK: Errors

    @Test func theTextOfAnErrorIsMarkedAsShortened() async throws {
        let error = AMQPError(scope: .link, condition: "com.example:broken", detail: Self.long)
        try await withPeer({ Self.peer(512) }) { connection, peer in
            let session = try await connection.openSession()
            try await session.openSender(to: "q").close(error)
            try await session.openReceiver(from: "q").close(error)
            try await session.close(error).check()
            try await connection.close(error).check()
            let frames = try await peer.framesOfLibrary()
            for code in [Frame.Code.detach, .end, .close] {
                let frame = try #require(frames.first { $0.code == code })
                let field = frame.field(code == .detach ? 2 : 0)
                guard case .described(let described) = field, case .string(let text)? = described.value.listValue?[1]
                else { throw Unexpected(what: "\(field)") }
                #expect(described.value.listValue?[0] == .symbol("com.example:broken"))
                #expect(text.hasPrefix("ää") && text.hasSuffix("ä… (shortened)"), "\(text)")
                #expect(text.utf8.count > 380)
            }
            try await self.expectFrames(peer, upTo: 512)
        }
    }

    @Test func aCloseOfItsOwnFitsToo() async throws {
        try await withPeer({ Self.peer(512) }) { connection, peer in
            try await peer.run { peer in
                peer.handler.fail(AMQPError(scope: .connection, condition: .notAllowed, detail: Self.long))
            }
            await peer.settle()
            #expect(try await peer.count(.close) == 1)
            try await self.expectFrames(peer, upTo: 512)
        }
    }

    @Test func aRejectionFitsAndAnnotationsThatDoNotAreLeftOut() async throws {
        try await withSession({ Self.peer(512, credit: nil) }) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            let large: AMQPMap = ["x": .string(Self.long)]
            try await peer.run { peer in for _ in 0..<4 { peer.send(payload(5), on: peer.links[0]) } }
            try #require(try await receiver.next()).reject(
                AMQPError(scope: .delivery, condition: .decodeError, detail: Self.long)
            )
            try #require(try await receiver.next()).reject(
                AMQPError(scope: .delivery, condition: .decodeError, detail: "short", info: large)
            )
            let changes = AMQPModified(deliveryFailed: true, messageAnnotations: large)
            try #require(try await receiver.next()).modify(changes)
            try #require(try await receiver.next()).modify(AMQPModified(messageAnnotations: ["x": "small"]))
            await peer.settle()
            let states = try await peer.framesOfLibrary().filter { $0.code == .disposition }.map { $0.field(4) }
            try #require(states.count == 4)
            #expect("\(states[0])".contains("… (shortened)"))
            #expect("\(states[1])".contains("short (info left out)"))
            guard case .described(let modified) = states[2] else { throw Unexpected(what: "\(states[2])") }
            #expect(modified.descriptor == .ulong(0x27) && modified.value.listValue?.first == .bool(true))
            #expect(!"\(modified.value)".contains("ä"))
            #expect("\(states[3])".contains("small"))
            try await self.expectFrames(peer, upTo: 512)
            #expect(session.connection.error == nil)
        }
    }

    @Test(arguments: UInt64(0)..<500)
    func aFittedErrorFits(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let limit = Int.random(in: 512...2_000, using: &random)
        func text(_ random: inout SeededGenerator) -> String {
            Self.randomText(&random, Int.random(in: 0...3_000, using: &random))
        }
        let condition = Int.random(in: 0..<10, using: &random) == 0 ? String(repeating: "c", count: 3_000) : "a:b"
        let info: AMQPMap = Bool.random(using: &random) ? [:] : [.symbol("k"): .string(text(&random))]
        let error = AMQPError(
            scope: .link,
            condition: AMQPCondition(rawValue: condition),
            detail: text(&random),
            info: info
        )
        let fitted = error.fitted(to: limit)
        var bytes = ByteBuffer()
        try CloseFrame.write(fitted, into: &bytes)
        #expect(bytes.readableBytes <= limit)
        if fitted != error {
            let isMarked = fitted.detail.hasSuffix("… (shortened)") || fitted.detail.hasSuffix(" (info left out)")
            #expect(isMarked || fitted.condition != error.condition, "seed \(seed): \(fitted)")
        }
        // An error that fits easily stays unchanged.
        #expect(error.fitted(to: 20_000) == error)
    }

    // MARK: Answering

    /// The answer to an attach repeats the peer's termini, which may be larger than the frames that this peer accepts.
    @Test func aLinkWhoseAnswerDoesNotFitIsRefusedWithASmallerOne() async throws {
        try await withPeer(role: .server, configuration: Self.serving(), { Self.peer(512) }) { connection, peer in
            try await peer.run { peer in
                guard let session = pn_session(peer.connection) else { return }
                pn_session_open(session)
                for (name, link) in [("in", pn_sender(session, "in")), ("out", pn_receiver(session, "out"))] {
                    guard let link else { return }
                    pn_terminus_set_address(pn_link_target(link), name + Self.medium)
                    pn_terminus_set_address(pn_link_source(link), name + Self.medium)
                    pn_link_open(link)
                }
            }
            var incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
            try await session.accept()
            for _ in 0..<2 {
                switch try await incoming.next() {
                case .receiver(let wish): await expectError(.invalidArgument) { try await wish.accept() }
                case .sender(let wish): await expectError(.invalidArgument) { try await wish.accept() }
                default: throw Unexpected(what: "no link")
                }
            }
            await peer.settle()
            let detaches = try await peer.framesOfLibrary().filter { $0.code == .detach }
            #expect(detaches.count == 2)
            #expect(detaches.allSatisfy { "\($0.field(2))".contains("amqp:frame-size-too-small") })
            try await self.expectFrames(peer, upTo: 512)
            #expect(connection.error == nil)
        }
    }

    /// Every answer to the attach would contain the name.
    @Test(arguments: [false, true])
    func aLinkWhoseNameDoesNotFitEndsItsSession(isDetached: Bool) async throws {
        try await withPeer(role: .server, configuration: Self.serving(), { Self.peer(512) }) { connection, peer in
            try await peer.run { peer in
                guard let session = pn_session(peer.connection), let link = pn_sender(session, Self.medium) else {
                    return
                }
                pn_session_open(session)
                pn_link_open(link)
                peer.links.append(link)
            }
            var incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next() else { throw Unexpected(what: "no session") }
            try await session.accept()
            guard case .receiver(let wish)? = try await incoming.next() else { throw Unexpected(what: "no link") }
            if isDetached {
                try await peer.run { pn_link_close($0.links[0]) }
            } else {
                await expectError(.invalidArgument) { try await wish.accept() }
            }
            await peer.settle()
            let frames = try await peer.framesOfLibrary()
            let end = try #require(frames.first { $0.code == .end })
            #expect("\(end.field(0))".contains("amqp:frame-size-too-small"))
            #expect(frames.allSatisfy { $0.code != .attach })
            try await self.expectFrames(peer, upTo: 512)
            #expect(connection.error == nil)
        }
    }

    // MARK: The open

    @Test(arguments: [UInt32(0), 1, 511])
    func aPeerThatAcceptsLessThanTheLeastIsRefused(size: UInt32) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.opensConnection = false
            // Only the test sends for the peer.
            script.beforeOpen = { $0.toLibrary.allowance = 0 }
            return script
        }
        let peer = try await InMemoryPeer(script: script())
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        let opening = begin { try await parts.opened.value() }
        try await peer.run { peer in
            var bytes = ByteBuffer(bytes: [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0])
            bytes.writeImmutableBuffer(try Frame.open(maxFrame: size).encoded())
            peer.inject(bytes)
        }
        let error = await expectError(.invalidField) { try await opening.value }
        #expect(error?.detail.contains("max-frame-size of \(size) bytes") == true)
        await peer.finish()
    }

    /// A server opens second, when it has already received the peer's limit.
    @Test func theOpenOfAServerFits() async throws {
        var configuration = Self.serving()
        configuration.properties = ["text": .string(Self.long)]
        configuration.offeredCapabilities = [AMQPSymbol(String(repeating: "c", count: 600))]
        try await withPeer(role: .server, configuration: configuration, { Self.peer(512) }) { connection, peer in
            let sizes = try await self.sizes(peer)
            #expect(!sizes.isEmpty && sizes.allSatisfy { $0.size <= 512 })
            #expect(connection.error == nil)
        }
    }

    @Test func aLargeOpenOfAClientIsSentAndLogged() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.properties = ["text": .string(String(repeating: "x", count: 2_000))]
        let lines = LogLines()
        let peer = try await InMemoryPeer(configuration: configuration, logger: lines.logger)
        let parts = AMQPConnection.Parts(peer.handler, peer.channel)
        _ = try await parts.opened.value()
        let open = try await self.sizes(peer).first?.size ?? 0
        #expect(open > 2_000)
        #expect(lines.all.count { $0.message.contains("larger than 512 bytes") } == 1)
        await peer.finish()
    }

    // MARK: Everything at once

    /// Random long inputs of every kind. No frame may exceed the peer's size, and the connection must stay open.
    @Test(arguments: UInt64(0)..<25)
    func noFrameIsEverLargerThanThePeerAccepts(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let limit = Int.random(in: 512...1_500, using: &random)
        try await withSession({ Self.peer(UInt32(limit), credit: 50) }) { session, peer in
            for _ in 0..<8 {
                let configuration = Self.randomReceiver(&random, length: Int.random(in: 1...900, using: &random))
                do {
                    let receiver = try await session.openReceiver(configuration)
                    let count = try await peer.run { $0.links.count }
                    try await peer.run { peer in
                        for _ in 0..<3 { peer.send(payload(700), on: peer.links[count - 1]) }
                    }
                    let text = Self.randomText(&random, Int.random(in: 0...2_000, using: &random))
                    for number in 0..<3 {
                        guard let delivery = try await receiver.next() else { break }
                        switch number {
                        case 0:
                            delivery.reject(
                                AMQPError(
                                    scope: .delivery,
                                    condition: "x:y",
                                    detail: text,
                                    info: ["text": .string(text)]
                                )
                            )
                        case 1: delivery.modify(AMQPModified(messageAnnotations: ["text": .string(text)]))
                        default: delivery.accept()
                        }
                    }
                    try await receiver.close(AMQPError(scope: .link, condition: "x:y", detail: text)).check()
                } catch let error as AMQPError where error.condition == .invalidArgument {
                    continue
                } catch {
                    Issue.record("seed \(seed): \(error)")
                }
            }
            try await self.expectFrames(peer, upTo: limit)
            #expect(session.connection.error == nil, "seed \(seed)")
        }
    }
}
