// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Message-formats, which Proton 0.37 neither sends nor exposes. Source: AMQP 1.0 §2.7.5 and §2.8.11.
@Suite(.deadline(minutes: 2))
struct MessageFormatTests {
    private static let format: UInt32 = 0x8000_0001

    // MARK: Sending

    @Test(arguments: [512, 600, 65_536], [nil, [1], Array(repeating: 2, count: 32)] as [[UInt8]?])
    func theFormatIsInEveryTransfer(limit: Int, tag: [UInt8]?) async throws {
        try await withSession({ PeerScript(maxFrameSize: UInt32(limit)) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let options = AMQPSendOptions(deliveryTag: tag, messageFormat: Self.format)
            for size in [0, 5_000, 200_000] {
                #expect(try await sender.enqueue(encoded: payload(size), options: options).outcome() == .accepted)
                #expect(try await sender.enqueue(encoded: payload(size)).outcome() == .accepted)
            }
            let small = AMQPSendOptions(messageFormat: 1)
            #expect(try await sender.enqueue(encoded: payload(5), options: small).outcome() == .accepted)
            let received = try await peer.run { $0.received }
            #expect(received.map(\.bytes) == [0, 0, 5_000, 5_000, 200_000, 200_000, 5].map { payload($0) })
            for (index, message) in received.enumerated() {
                #expect(message.tag == (index % 2 == 0 && index < 6 ? tag : nil) ?? [UInt8(index + 1)])
            }
            let frames = try await peer.framesOfLibrary()
            let transfers = frames.filter { $0.code == .transfer }
            for transfer in transfers {
                let index = try Self.number(transfer.field(1))
                let expected: AMQPValue = index == 6 ? .uint(1) : index % 2 == 0 ? .uint(Self.format) : .uint(0)
                #expect(transfer.field(3) == expected)
                #expect(transfer.field(2) == .binary(ByteBuffer(bytes: received[Int(index)].tag)))
            }
            var stream = try await peer.run { $0.toPeer.record }
            stream.moveReaderIndex(forwardBy: 8)
            while let size = stream.readInteger(as: UInt32.self) {
                #expect(size <= limit)
                stream.moveReaderIndex(forwardBy: Int(size) - 4)
            }
            #expect(transfers.count > 400_000 / limit)
        }
    }

    private static func number(_ value: AMQPValue) throws -> UInt32 {
        guard case .uint(let number) = value else { throw Unexpected(what: "\(value)") }
        return number
    }

    @Test func anAbortHasTheFormatOfItsMessage() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            let options = AMQPSendOptions(deliveryTag: [3, 3], messageFormat: Self.format)
            let fed = FedBody()
            let stream = begin { try await sender.stream(options: options, body: fed) }
            fed.feed(payload(10_000))
            try await eventually("it has begun") { try await peer.run { !$0.partial.isEmpty } }
            fed.end(FedBody.Broken())
            await #expect(throws: FedBody.Broken.self) { try await stream.value }
            await peer.settle()
            let transfers = try await peer.framesOfLibrary().filter { $0.code == .transfer }
            #expect(transfers.last?.field(9) == .bool(true))
            #expect(transfers.allSatisfy { $0.field(3) == .uint(Self.format) })
            #expect(transfers.allSatisfy { $0.field(2) == .binary(ByteBuffer(bytes: [3, 3])) })
            #expect(try await peer.run { $0.received.map(\.isAborted) } == [true])
        }
    }

    /// The edited stream is the same wherever Proton's bytes are cut, and shorter than Proton's.
    @Test func whereverTheOutputIsCutTheFormatIsWritten() throws {
        var frames = ByteBuffer(bytes: [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0])
        frames.writeImmutableBuffer(try Frame.open().encoded())
        for (index, size) in [0, 3, 1_500].enumerated() {
            let tag = MarkedTag.bytes([7, UInt8(index)], format: Self.format)
            let id = UInt32(index)
            frames.writeImmutableBuffer(
                try Frame.transfer(handle: 0, id: id, tag: tag, more: true, payload: payload(size)).encoded()
            )
            frames.writeImmutableBuffer(try Frame.transfer(handle: 0, id: id, tag: [1]).encoded())
        }
        func pass(_ pieces: [ByteBuffer]) -> ByteBuffer {
            let observer = FrameObserver(maxFrameSize: 65_536, openLinks: 8)
            observer.sendsFormats = true
            var passed = ByteBuffer()
            for piece in pieces {
                var output: ByteBuffer? = piece
                observer.sent(&output)
                if let output { passed.writeImmutableBuffer(output) }
            }
            return passed
        }
        let whole = pass([frames])
        #expect(whole.readableBytes == frames.readableBytes - 3 * (MarkedTag.count - 2 - 4))
        for (index, frame) in Frame.parse(whole).dropFirst().enumerated() {
            #expect(frame.field(3) == .uint(index % 2 == 0 ? Self.format : 0))
            let tag: [UInt8] = index % 2 == 0 ? [7, UInt8(index / 2)] : [1]
            #expect(frame.field(2) == .binary(ByteBuffer(bytes: tag)))
        }
        for cut in 1..<frames.readableBytes {
            let first = try #require(frames.getSlice(at: 0, length: cut))
            let second = try #require(frames.getSlice(at: cut, length: frames.readableBytes - cut))
            #expect(pass([first, second]) == whole, "cut at \(cut)")
        }
        #expect(pass(frames.readableBytesView.map { ByteBuffer(bytes: [$0]) }) == whole)
    }

    @Test func tracedFramesEqualTheFramesOnTheWire() async throws {
        let log = LogLines()
        var configuration = AMQPConnection.Configuration()
        configuration.tracesFrames = true
        try await withSession(configuration: configuration, logger: log.logger) { session, _ in
            let sender = try await session.openSender(to: "q")
            let options = AMQPSendOptions(deliveryTag: [1, 2], messageFormat: 77)
            #expect(try await sender.enqueue(encoded: payload(5), options: options).outcome() == .accepted)
        }
        let line = log.text.split(separator: "\n").first { $0.contains("-> @transfer") }
        #expect(line?.contains("message-format=77") == true, "\(line ?? "")")
    }

    // MARK: Receiving

    private static func transfer(
        _ id: UInt32,
        tag: [UInt8]? = [9],
        format: UInt32? = nil,
        settled: Bool = false,
        more: Bool = false,
        aborted: Bool = false,
        size: Int = 3
    ) -> Frame {
        var frame = Frame.transfer(
            handle: 0,
            id: id,
            tag: tag,
            settled: settled,
            more: more,
            aborted: aborted,
            payload: payload(size)
        )
        frame.fields[3] = format.map { .uint($0) } ?? .null
        return frame
    }

    /// Messages with and without a format: some share a tag, some span several transfers, and some are aborted.
    private static let dialogue: [Frame] = [
        Self.transfer(0, format: 7, settled: true),
        Self.transfer(1, settled: true),
        Self.transfer(2, tag: Array(repeating: 1, count: 32), format: 0xFFFF_FFFF),
        Self.transfer(3, tag: [], format: 256, more: true, size: 5_000),
        Self.transfer(3, tag: nil, more: true, size: 5_000),
        Self.transfer(3, tag: nil, format: 256, size: 0),
        Self.transfer(4, format: 8, more: true),
        Self.transfer(4, format: 8, more: true, aborted: true, size: 0),
        Self.transfer(5, format: 0, settled: true),
        Self.transfer(6, format: 9, settled: true),
        Self.transfer(7, tag: Array(repeating: 2, count: 37), settled: true),
        Self.transfer(8, format: 0x0A00_0000, more: true, aborted: true, size: 0),
        Self.transfer(9, format: 11, settled: true),
    ]
    private static let formats: [UInt32] = [7, 0, 0xFFFF_FFFF, 256, 0, 9, 0, 11]
    private static let tags: [[UInt8]] = [
        [9], [9], Array(repeating: 1, count: 32), [], [9], [9], Array(repeating: 2, count: 32), [9],
    ]

    @Test(arguments: bothRoles, [1_000_000, 1, 700])
    func theFormatOfEachMessageIsSeen(role: ConnectionHandler.Role, piece: Int) async throws {
        try await withReceivers(role, 1, .init(window: .messages(100))) { receivers, connection, adversary in
            var bytes = ByteBuffer()
            for frame in Self.dialogue { bytes.writeImmutableBuffer(try frame.encoded()) }
            while let next = bytes.readSlice(length: min(piece, bytes.readableBytes)), next.readableBytes > 0 {
                try await adversary.send(next)
            }
            var deliveries: [AMQPDelivery] = []
            for _ in Self.formats { deliveries.append(try await receivers[0].nextInTime()) }
            #expect(deliveries.map(\.messageFormat) == Self.formats)
            #expect(deliveries.map(\.tag) == Self.tags)
            #expect(deliveries.map(\.payload.readableBytes) == [3, 3, 3, 10_000, 3, 3, 3, 3])
            for delivery in deliveries { delivery.accept() }
            await adversary.peer.settle()
            #expect(connection.error == nil && receivers[0].error == nil)
            #expect(receivers[0].poll() == nil)
        }
    }

    /// The edited frame exceeds the size that the peer may send.
    @Test(arguments: [512, 65_536], [0, 1, 32])
    func theLargestFrameMayHaveAFormat(limit: Int, tag: Int) async throws {
        try await withReceivers(.client, 1, .init(window: .messages(100)), { $0.maxFrameSize = AMQPByteCount(limit) }) {
            receivers,
            connection,
            adversary in
            var frame = Self.transfer(0, tag: Array(repeating: 3, count: tag), format: Self.format, size: 0)
            frame.payload = payload(limit - (try frame.encoded().readableBytes))
            #expect(try frame.encoded().readableBytes == limit)
            try await adversary.send(frame)
            let delivery = try await receivers[0].nextInTime()
            #expect(delivery.messageFormat == Self.format)
            #expect(delivery.tag == Array(repeating: 3, count: tag))
            #expect(delivery.payload == frame.payload)
            // A larger frame is still refused.
            frame.payload.writeInteger(UInt8(0))
            try await adversary.send(frame)
            try await adversary.expectClose(.connectionFramingError, "\(limit + 1) bytes", connection)
        }
    }

    /// A session that begins later has the configured window.
    @Test func theAnnouncedSizesStay() async throws {
        try await withAdversary(.client, { $0.maxFrameSize = 1_024 }) { connection, adversary in
            for _ in 0..<2 {
                let session = begin { try await connection.openSession(.init(incomingCapacity: .kibibytes(100))) }
                await adversary.peer.settle()
                let begun = try #require(try await adversary.frames(.begin).last)
                #expect(begun.field(2) == .uint(100))
                try await adversary.send(.begin(channel: begun.channel, answering: begun.channel))
                _ = try await session.value
            }
            #expect(try await adversary.frames(.open).first?.field(2) == .uint(1_024))
        }
    }

    @Test func streamedAndLargeMessagesHaveTheirFormats() async throws {
        var configuration = AMQPReceiver.Configuration(source: "q", window: .messages(100))
        configuration.streamsMessages = true
        try await withReceivers(.client, 1, configuration) { receivers, _, adversary in
            let message = try AMQPMessage(body: .data([payload(20_000)])).encoded()
            var frame = Self.transfer(0, format: 5, more: true)
            frame.payload = try #require(message.getSlice(at: 0, length: 10_000))
            try await adversary.send(frame)
            let delivery = try await receivers[0].nextInTime()
            #expect(delivery.isStreamed && delivery.messageFormat == 5 && delivery.tag == [9])
            var rest = Self.transfer(0, tag: nil)
            rest.payload = try #require(message.getSlice(at: 10_000, length: message.readableBytes - 10_000))
            try await adversary.send(rest)
            #expect(try await delivery.body.collect(upTo: .mebibytes(1)).readableBytes == 20_000)
        }
    }

    /// After the end of the link, the receiver delivers settled messages from new chunks.
    @Test func theFormatIsKeptAfterTheEnd() async throws {
        try await withReceivers(.client, 1, .init(window: .messages(100))) { receivers, _, adversary in
            try await adversary.send(
                Self.transfer(0, tag: [1], format: 3, settled: true),
                Self.transfer(1, tag: [2], format: 4),
                Self.transfer(2, tag: [3], settled: true),
                Self.transfer(3, tag: [4], format: 5, settled: true, size: 6_000),
                .detach(0)
            )
            var deliveries: [AMQPDelivery] = []
            while let delivery = try await receivers[0].next() { deliveries.append(delivery) }
            #expect(deliveries.map(\.messageFormat) == [3, 0, 5])
            #expect(deliveries.map(\.tag) == [[1], [3], [4]])
        }
    }

    // MARK: Edits

    /// The outgoing edit removes the mark of the incoming edit, and every other field stays unchanged.
    @Test(arguments: 0..<300)
    func markingChangesNothingElse(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let tag = (0..<generator.below(33)).map { _ in UInt8(generator.below(256)) }
        let format = max(1, generator.integer(UInt32.self))
        var fields: [AMQPValue] = [
            .uint(generator.integer(UInt32.self)), .uint(generator.integer(UInt32.self)),
            .binary(ByteBuffer(bytes: tag)), .uint(format), .bool(generator.below(2) == 0),
            .bool(generator.below(2) == 0),
        ]
        for _ in 0..<generator.below(6) { fields.append(generator.value(depth: 1)) }
        let frame = Frame(
            .transfer,
            channel: generator.integer(UInt16.self),
            fields,
            payload: payload(generator.below(99))
        )
        let bytes = Array(try frame.encoded().readableBytesView)
        let marked = try #require(bytes.withUnsafeBytes { IncomingEdits.mark($0, format: format, limit: .max) })
        let (before, between) = (try ReadFrame(bytes), try ReadFrame(marked))
        #expect(marked.count <= bytes.count + 64, "seed \(seed)")
        #expect(between.size == marked.count && between.head == before.head, "seed \(seed)")
        #expect(between.payload == before.payload && between.fields.count == before.fields.count, "seed \(seed)")
        #expect(between.field(2) == .binary(ByteBuffer(bytes: MarkedTag.bytes(tag, format: format))), "seed \(seed)")
        #expect(between.field(3) == .uint(0), "seed \(seed)")
        for index in before.fields.indices where index != 2 && index != 3 {
            #expect(between.field(index) == before.field(index), "seed \(seed): field \(index)")
        }
        let back = try #require(marked.withUnsafeBytes { OutgoingEdits.transfer($0) })
        var after = try ReadFrame(back)
        #expect(back.count < marked.count && after.size == back.count, "seed \(seed)")
        after.size = before.size
        #expect(after == before, "seed \(seed)")
        // A transfer without a mark stays unchanged.
        #expect(bytes.withUnsafeBytes { OutgoingEdits.transfer($0) } == nil)
    }
}
