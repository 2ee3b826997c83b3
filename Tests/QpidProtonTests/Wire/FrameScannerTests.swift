// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The frames that the scanner forwards, however the stream is split.
@Suite(.deadline(minutes: 2))
struct FrameScannerTests {
    private static let header: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]

    /// Returns the stream after a scanner that replaces a field of some frame heads.
    private static func pass(_ pieces: [[UInt8]], maxSize: Int?, replaces: (UnsafeRawBufferPointer) -> Bool) -> [UInt8]
    {
        var tap = FrameScanner(maxSize: maxSize)
        var passed: [UInt8] = []
        for piece in pieces {
            piece.withUnsafeBytes { bytes in
                tap.consume(bytes) { head in
                    guard replaces(head), var editor = FrameEditor(head) else { return nil }
                    editor.performative.set(12, to: 77)
                    guard case .edited(let edited) = editor.result(limit: .max) else { return nil }
                    return edited
                }
                tap.forEachPart(of: bytes) { passed += $0 }
            }
        }
        return passed
    }

    /// Returns frames of all kinds, including heartbeats and transfers that are longer than a head.
    private static func frames(_ generator: inout ValueGenerator) throws -> [[UInt8]] {
        try (0..<12).map { _ in
            switch generator.below(6) {
            case 0: return try Array(Frame(code: nil).encoded().readableBytesView)
            case 1:
                let size = generator.below(5_000)
                return try Array(
                    Frame.transfer(handle: 0, id: 1, tag: [1], payload: payload(size)).encoded().readableBytesView
                )
            default: return try EncodedFrame(&generator).bytes
            }
        }
    }

    @Test(arguments: 0..<100)
    func passesOnAStreamUnchanged(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let stream = Self.header + (try Self.frames(&generator)).flatMap { $0 }
        for longest in [1, 3, 20, 900, 9_000] {
            let pieces = stream.cut(&generator.random, longest: longest)
            for maxSize in [nil, 1 << 20] {
                #expect(Self.pass(pieces, maxSize: maxSize) { _ in false } == stream, "seed \(seed), \(longest)")
            }
        }
    }

    @Test(arguments: 0..<100)
    func replacesTheSameFramesForEveryCut(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let frames = try Self.frames(&generator)
        let expected = frames.map { frame in
            frame.withUnsafeBytes { bytes -> [UInt8] in
                // The scanner reads only the head of a transfer.
                let shown = FrameHeader.channelOfTransfer(bytes) == nil ? frame.count : FrameScanner.headLength
                let head = UnsafeRawBufferPointer(rebasing: bytes.prefix(shown))
                guard frame[7] & 1 == 0, var editor = FrameEditor(head) else { return frame }
                editor.performative.set(12, to: 77)
                guard case .edited(let edited) = editor.result(limit: .max) else { return frame }
                return edited + frame.dropFirst(shown)
            }
        }
        let stream = Self.header + frames.flatMap { $0 }
        for longest in [1, 3, 20, 900, 9_000, 100_000] {
            let pieces = stream.cut(&generator.random, longest: longest)
            let passed = Self.pass(pieces, maxSize: 1 << 20) { $0[7] & 1 == 0 }
            #expect(passed == Self.header + expected.flatMap { $0 }, "seed \(seed), \(longest)")
        }
    }

    /// The scanner withholds an incomplete head, and forwards everything after a complete one.
    @Test func keepsAnIncompleteHeadAlone() throws {
        let flow = try Array(Frame.flow(handle: 0, deliveryCount: 0, credit: 5).encoded().readableBytesView)
        let transfer = try Array(
            Frame.transfer(handle: 0, id: 0, tag: [1], payload: payload(3_000)).encoded().readableBytesView
        )
        #expect(
            Self.pass([Self.header + flow, Array(flow[..<10])], maxSize: 1 << 20) { _ in false } == Self.header + flow
        )
        let begun = Array(transfer[..<2_000])
        #expect(Self.pass([Self.header, begun], maxSize: 1 << 20) { _ in false } == Self.header + begun)
    }

    /// Proton's output is edited identically wherever it is cut, and the highest handle is set in a `begin`.
    @Test(arguments: 0..<50)
    func writesTheWindowsForEveryCutOfTheOutput(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let window = UInt32(IncomingWindow.disguise) + 64
        let frames: [Frame] = [
            Frame(.open, ["c"]),
            Frame(.begin, [.null, .uint(0), .uint(window), .uint(generator.integer(UInt32.self))]),
            .attach("l", handle: 0, isReceiver: true),
            .flow(
                nextIncomingID: nil,
                window: window,
                handle: 0,
                deliveryCount: 0,
                credit: generator.integer(UInt32.self)
            ),
            .transfer(handle: 1, id: 0, tag: [1], payload: payload(generator.below(3_000))),
            .flow(nextIncomingID: nil, window: window),
        ]
        let stream = Self.header + (try frames.flatMap { Array(try $0.encoded().readableBytesView) })
        for longest in [1, 7, 50, 100_000] {
            let observer = FrameObserver(maxFrameSize: 65_536, openLinks: 8)
            var told = ByteBuffer()
            for piece in stream.cut(&generator.random, longest: longest) {
                var buffer: ByteBuffer? = ByteBuffer(bytes: piece)
                observer.sent(&buffer)
                if let buffer { told.writeImmutableBuffer(buffer) }
            }
            var expected = frames
            expected[1].fields[2] = .uint(64)
            expected[1].fields.append(.uint(UInt32(Int32.max)))
            expected[3].fields[1] = .uint(64)
            expected[5].fields[1] = .uint(64)
            let read = Frame.parse(told)
            #expect(read.map(\.fields) == expected.map(\.fields), "seed \(seed), \(longest)")
            #expect(read.map(\.payload) == expected.map(\.payload), "seed \(seed), \(longest)")
        }
    }
}

extension Frame {
    /// Creates a heartbeat.
    fileprivate init(code: Code?) {
        self.init(.open, [])
        self.code = code
    }
}
