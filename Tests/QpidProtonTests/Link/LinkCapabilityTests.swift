// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Offered and desired capabilities of links, which Proton 0.37 neither sends nor exposes. Source: AMQP 1.0 §2.7.3.
@Suite(.deadline)
struct LinkCapabilityTests {
    private static func sender(_ offered: [AMQPSymbol], _ desired: [AMQPSymbol]) -> AMQPSender.Configuration {
        var configuration = AMQPSender.Configuration(target: "q")
        configuration.offeredCapabilities = offered
        configuration.desiredCapabilities = desired
        return configuration
    }

    private static func receiver(_ offered: [AMQPSymbol], _ desired: [AMQPSymbol]) -> AMQPReceiver.Configuration {
        var configuration = AMQPReceiver.Configuration(source: "q")
        configuration.offeredCapabilities = offered
        configuration.desiredCapabilities = desired
        return configuration
    }

    private static func array(_ symbols: [AMQPSymbol]) -> AMQPValue { .array(AMQPArray(symbols: symbols)) }

    @Test func bothCapabilitiesAreSent() async throws {
        try await withSession { session, peer in
            var sending = Self.sender(["o:1", "o:2"], ["d:1"])
            sending.properties = [.symbol("p"): .list([.int(1), .string("ä")])]
            _ = try await session.openSender(sending)
            _ = try await session.openReceiver(Self.receiver([], ["d:2", "d:3"]))
            _ = try await session.openSender(Self.sender(["o:3"], []))
            _ = try await session.openReceiver(from: "q")
            let attaches = try await peer.framesOfLibrary().filter { $0.code == .attach }
            #expect(attaches.map { $0.field(11) } == [Self.array(["o:1", "o:2"]), .null, Self.array(["o:3"]), .null])
            #expect(attaches.map { $0.field(12) } == [Self.array(["d:1"]), Self.array(["d:2", "d:3"]), .null, .null])
            #expect(attaches.map { $0.field(13) } == [.map(sending.properties), .null, .null, .null])
            let properties = try await peer.run { $0.links.map { ProtonData.map(pn_link_remote_properties($0)) } }
            #expect(properties == [sending.properties, [:], [:], [:]])
        }
    }

    /// With capabilities the dialogue continues as without them: flows and echoed flows name the links.
    @Test func aLinkWithCapabilitiesMovesMessages() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(Self.sender(["a"], ["b"]))
            #expect(try await sender.send(AMQPMessage(body: "a")) == .accepted)
            let receiver = try await session.openReceiver(Self.receiver(["a"], ["b"]))
            try await peer.run { peer in
                for _ in 0..<500 { peer.send(payload(2_000), on: peer.links[1]) }
            }
            for _ in 0..<500 { try await receiver.next()?.accept() }
            await receiver.close()
            await sender.close()
            #expect(session.connection.error == nil)
        }
    }

    private static let forms: [(AMQPValue, [AMQPSymbol])] = [
        (.null, []), (.symbol("one"), ["one"]), (Self.array(["one", "two"]), ["one", "two"]),
        (Self.array([]), []), (.list([.symbol("one")]), ["one"]), (.string("none"), []),
        (.array(AMQPArray(strings: ["none"])), []),
    ]

    @Test(arguments: 0..<7, 0..<7)
    func thePeersCapabilitiesAreReadInEachForm(offered: Int, desired: Int) async throws {
        try await withAdversary(.client) { connection, adversary in
            let session = try await adversary.session(connection)
            let opening = begin { try await session.openReceiver(from: "q") }
            await adversary.peer.settle()
            let attach = try #require(try await adversary.frames(.attach).last)
            var answer = Frame.attach(attach.field(0), handle: 0, isReceiver: false)
            answer.fields[11] = Self.forms[offered].0
            answer.fields[12] = Self.forms[desired].0
            // The attach is much longer than the head of a transfer.
            answer.fields[5] = .described(0x28, .list([.string(String(repeating: "a", count: 3_000))]))
            try await adversary.send(answer)
            let receiver = try await opening.value
            #expect(receiver.remoteOfferedCapabilities == Self.forms[offered].1)
            #expect(receiver.remoteDesiredCapabilities == Self.forms[desired].1)
        }
    }

    @Test func theFieldsOfAShortAttachAreEmpty() async throws {
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin())
            for (handle, count) in [3, 7, 10, 11, 12].enumerated() {
                var attach = Frame.attach(.string("\(count)"), handle: UInt32(handle), isReceiver: true)
                attach.fields = Array(attach.fields.prefix(count))
                if count == 12 { attach.fields[11] = .symbol("one") }
                try await adversary.send(attach)
            }
            let incoming = connection.incoming.makeAsyncIterator()
            var found: [[AMQPSymbol]] = []
            while found.count < 5 {
                switch try await incoming.next(isolation: nil) {
                case .session(let session): try await session.accept()
                case .sender(let wish):
                    found.append(wish.attach.offeredCapabilities)
                    #expect(wish.attach.desiredCapabilities.isEmpty)
                case .receiver, nil: throw Unexpected(what: "no sender")
                }
            }
            #expect(found == [[], [], [], [], ["one"]])
        }
    }

    @Test func anIncomingLinkExposesThePeersCapabilitiesAndAnswersWithItsOwn() async throws {
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin())
            for (handle, isReceiver) in [(UInt32(0), true), (1, false)] {
                var attach = Frame.attach(.string("link"), handle: handle, isReceiver: isReceiver)
                attach.fields[11] = .symbol(AMQPSymbol("o:\(handle)"))
                attach.fields[12] = Self.array([AMQPSymbol("d:\(handle)"), "e"])
                try await adversary.send(attach)
            }
            let incoming = connection.incoming.makeAsyncIterator()
            guard case .session(let session)? = try await incoming.next(isolation: nil) else {
                throw Unexpected(what: "no session")
            }
            try await session.accept()
            guard case .sender(let first)? = try await incoming.next(isolation: nil),
                case .receiver(let second)? = try await incoming.next(isolation: nil)
            else { throw Unexpected(what: "no links") }
            #expect(first.attach.offeredCapabilities == ["o:0"] && first.attach.desiredCapabilities == ["d:0", "e"])
            #expect(second.attach.offeredCapabilities == ["o:1"] && second.attach.desiredCapabilities == ["d:1", "e"])
            var other = first.attach
            other.desiredCapabilities = []
            #expect(other != first.attach)
            let sender = try await first.accept(Self.sender(["own"], []))
            #expect(sender.remoteOfferedCapabilities == ["o:0"] && sender.remoteDesiredCapabilities == ["d:0", "e"])
            let link: any AMQPLink = try await second.accept()
            #expect(link.remoteOfferedCapabilities == ["o:1"] && link.remoteDesiredCapabilities == ["d:1", "e"])
            await adversary.peer.settle()
            let attaches = try await adversary.frames(.attach)
            #expect(attaches.map { $0.field(11) } == [Self.array(["own"]), .null])
            #expect(attaches.map { $0.field(12) } == [.null, .null])
        }
    }

    // MARK: Capabilities that cannot be sent

    @Test(arguments: ["a\0b", "ä"])
    func symbolsThatCannotBeSentAreRefused(symbol: String) async throws {
        try await withSession { session, peer in
            let symbol = AMQPSymbol(symbol)
            let pairs: [([AMQPSymbol], [AMQPSymbol])] = [([symbol], []), ([], ["a", symbol])]
            for pair in pairs {
                let name = pair.1.isEmpty ? "offeredCapabilities" : "desiredCapabilities"
                let errors = [
                    await expectError(.invalidArgument) { try await session.openSender(Self.sender(pair.0, pair.1)) },
                    await expectError(.invalidArgument) {
                        try await session.openReceiver(Self.receiver(pair.0, pair.1))
                    },
                ]
                let details = errors.compactMap { $0?.detail.hasPrefix(name) }
                #expect(details == [true, true], "\(errors)")
            }
            let attaches = try await peer.count(.attach)
            #expect(attaches == 0)
        }
    }

    private func size(_ peer: InMemoryPeer) async throws -> Int {
        var stream = try await peer.run { $0.toPeer.record }
        stream.moveReaderIndex(forwardBy: 8)
        while let size = stream.getInteger(at: stream.readerIndex, as: UInt32.self),
            let frame = stream.readSlice(length: Int(size))
        {
            if size > 8, frame.getInteger(at: frame.readerIndex + 10, as: UInt8.self) == 0x12 { return Int(size) }
        }
        return 0
    }

    /// The computed size equals the size on the wire, or exceeds it by a few bytes. The library cannot compute the
    /// width of the handle and of the lists in advance.
    @Test(arguments: [1, 20, 200], [false, true])
    func anAttachIsNoLargerThanThePeersFrames(count: Int, hasProperties: Bool) async throws {
        let symbols = (0..<count).map { AMQPSymbol("capability:\($0)") }
        var configuration = Self.sender(symbols, ["d"])
        configuration.name = String(repeating: "n", count: 600)
        if hasProperties { configuration.properties = ["p": .string(String(repeating: "x", count: 300))] }
        let settings = configuration
        var found = 0
        try await withSession({ PeerScript(credit: 10) }) { session, peer in
            _ = try await session.openSender(settings)
            found = try await self.size(peer)
        }
        let size = found
        try #require(size > 600)
        let more = ProtonVersion.loaded == ProtonVersion.tested ? 10 : 20
        try await withSession({ PeerScript(credit: 10, maxFrameSize: UInt32(size + more)) }) { session, peer in
            _ = try await session.openSender(settings)
            #expect(try await self.size(peer) == size)
        }
        try await withSession({ PeerScript(credit: 10, maxFrameSize: UInt32(size - 1)) }) { session, peer in
            let error = await expectError(.invalidArgument) { try await session.openSender(settings) }
            #expect(error?.detail.contains("its attach frame takes") == true)
            #expect(try await peer.count(.attach) == 0)
            _ = try await session.openSender(to: "q")
        }
        // Finds the tightest accepted limit, byte by byte from below.
        for limit in size...(size + more) {
            var isOpened = false
            try await withSession({ PeerScript(credit: 10, maxFrameSize: UInt32(limit)) }) { session, peer in
                do {
                    _ = try await session.openSender(settings)
                    isOpened = true
                    #expect(try await self.size(peer) <= limit)
                } catch let error as AMQPError {
                    #expect(error.condition == .invalidArgument)
                }
            }
            if isOpened { break }
        }
    }

    /// The answer to a link of the peer does not fit, so a smaller answer refuses the link.
    @Test func anAnswerThatDoesNotFitIsARefusal() async throws {
        try await withAdversary(.server, open: .open(maxFrame: 512)) { connection, adversary in
            try await adversary.send(.begin(), .attach(.string("link"), handle: 0, isReceiver: true))
            let symbols = (0..<100).map { AMQPSymbol("capability:\($0)") }
            await expectError(.invalidArgument) {
                try await connection.acceptSender(Self.sender([], symbols))
            }
            await adversary.peer.settle()
            let error = try await adversary.error(in: .detach)
            #expect(error?.condition == .frameSizeTooSmall)
            let attach = try #require(try await adversary.frames(.attach).first)
            #expect(attach.field(11) == .null && attach.field(12) == .null && attach.field(13) == .null)
            #expect(connection.error == nil)
        }
    }

    /// The edit changes only the three fields.
    @Test(arguments: 0..<100)
    func theEditOfAnAttachChangesNothingElse(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let values = (0..<3).map { _ in generator.value(depth: 1) }
        let content = try values.flatMap { try $0.bytes }
        var fields: [AMQPValue] = [.string("n"), .uint(generator.integer(UInt32.self)), .bool(true)]
        while fields.count < 13 { fields.append(generator.value(depth: 1)) }
        fields.append(.binary(ByteBuffer(bytes: content)))
        let bytes = Array(try Frame(.attach, fields).encoded().readableBytesView)
        let edited = try #require(bytes.withUnsafeBytes { OutgoingEdits.attach($0) })
        let after = try ReadFrame(edited)
        #expect(after.size == edited.count && after.fields.count == 14, "seed \(seed)")
        for index in 0..<14 {
            #expect(after.field(index) == (index < 11 ? fields[index] : values[index - 11]), "seed \(seed): \(index)")
        }
        // Properties of any other type, and binaries that do not hold three values, stay unchanged.
        for other: AMQPValue in [.null, .map(["a": 1]), .binary(ByteBuffer(bytes: content + [0x40]))] {
            fields[13] = other
            let bytes = Array(try Frame(.attach, fields).encoded().readableBytesView)
            #expect(bytes.withUnsafeBytes { OutgoingEdits.attach($0) } == nil, "seed \(seed)")
        }
    }
}
