// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The editor replaces fields of single frames, and preserves all other bytes.
@Suite(.deadline(minutes: 2))
struct FrameEditorTests {
    private static func edit(
        _ bytes: [UInt8],
        limit: Int = .max,
        _ body: (inout EncodedComposite) -> Void
    ) throws -> FrameEditor.Result {
        var editor = try #require(bytes.withUnsafeBytes { FrameEditor($0) })
        body(&editor.performative)
        return editor.result(limit: limit)
    }

    private static func edited(_ result: FrameEditor.Result) throws -> [UInt8] {
        guard case .edited(let bytes) = result else { throw Unexpected(what: "\(result)") }
        return bytes
    }

    /// Setting a field to its current value does not change the frame.
    @Test(arguments: 0..<200)
    func keepsUneditedFields(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let frame = try EncodedFrame(&generator)
        #expect(try Self.edit(frame.bytes) { _ in } == .unchanged, "seed \(seed)")
        let same = try Self.edit(frame.bytes) { performative in
            for (index, field) in frame.fields.enumerated() { performative.set(index, to: field) }
        }
        #expect(same == .unchanged, "seed \(seed)")
    }

    /// An independent decoder finds the new value in its position, the old values in all others, and correct sizes.
    @Test(arguments: 0..<400)
    func changesTheNamedFieldAlone(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let frame = try EncodedFrame(&generator)
        let index = generator.below(20)
        let value = generator.value(depth: 2)
        let result = try Self.edit(frame.bytes) { performative in
            if let bytes = try? value.bytes { performative.set(index, to: bytes) }
        }
        if result == .unchanged { return #expect(index < frame.fields.count || value == .null, "seed \(seed)") }
        let bytes = try Self.edited(result)
        let (before, after) = (try ReadFrame(frame.bytes), try ReadFrame(bytes))
        #expect(after.size == bytes.count, "seed \(seed)")
        #expect(after.head == before.head && after.payload == before.payload, "seed \(seed)")
        #expect(after.descriptor == before.descriptor, "seed \(seed)")
        #expect(after.fields.count == max(before.fields.count, index + 1), "seed \(seed)")
        #expect(after.field(index) == value, "seed \(seed)")
        for other in after.fields.indices where other != index {
            #expect(after.field(other) == before.field(other), "seed \(seed): field \(other)")
        }
    }

    /// Restoring the old value restores the frame byte for byte, unless its list had to widen.
    @Test(arguments: 0..<400)
    func isUndoneByTheOldValue(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let frame = try EncodedFrame(&generator)
        guard !frame.fields.isEmpty else { return }
        let index = generator.below(frame.fields.count)
        let value = try generator.value(depth: 1).bytes
        let old = frame.fields.reduce(0) { $0 + $1.count }
        guard value != frame.fields[index] else { return }
        let bytes = try Self.edited(try Self.edit(frame.bytes) { $0.set(index, to: value) })
        var expected = frame
        expected.fields[index] = value
        if frame.list == 0xC0, old - frame.fields[index].count + value.count >= 0xFF { expected.list = 0xD0 }
        #expect(bytes == expected.bytes, "seed \(seed)")
        let back = try Self.edited(try Self.edit(bytes) { $0.set(index, to: frame.fields[index]) })
        expected.fields[index] = frame.fields[index]
        #expect(back == expected.bytes, "seed \(seed)")
    }

    @Test func widensAListWhoseSizeOrCountOutgrowsOneByte() throws {
        let begin = try Array(Frame.begin(window: 9).encoded().readableBytesView)
        for count in [200, 243, 244, 300, 70_000] {
            let text = String(repeating: "x", count: count)
            let value = try AMQPValue.string(text).bytes
            let read = try ReadFrame(try Self.edited(try Self.edit(begin) { $0.set(7, to: value) }))
            #expect(read.fields == [.null, .uint(0), .uint(9), .uint(9), .null, .null, .null, .string(text)])
        }
        // A list without fields has no size byte.
        let empty: [UInt8] = [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x18, 0x45]
        #expect(
            try Self.edit(empty) { $0.set(0, to: [0x41]) }
                == .edited([0, 0, 0, 15, 2, 0, 0, 0, 0, 0x53, 0x18, 0xC0, 2, 1, 0x41])
        )
    }

    /// The head of a transfer is sufficient: the size includes the payload after it.
    @Test func editsTheHeadOfATransfer() throws {
        let frame = try Frame.transfer(handle: 1, id: 2, tag: [3], payload: payload(5_000)).encoded()
        let bytes = Array(frame.readableBytesView)
        let head = Array(bytes[..<FrameScanner.headLength])
        let edited = try Self.edited(try Self.edit(head) { $0.set(3, to: 0x8000_0000) })
        let whole = try ReadFrame(edited + bytes[FrameScanner.headLength...])
        #expect(whole.size == edited.count + bytes.count - FrameScanner.headLength)
        #expect(whole.field(3) == .uint(0x8000_0000))
        #expect(whole.payload == Array(payload(5_000).readableBytesView))
    }

    @Test func namesAFrameThatOutgrowsItsLimitAndChangesNothing() throws {
        let bytes = try Array(Frame.begin().encoded().readableBytesView)
        let longer = bytes.count + 5
        #expect(try Self.edit(bytes, limit: longer) { $0.set(4, to: 7) } != .tooLarge(longer))
        #expect(try Self.edit(bytes, limit: longer - 1) { $0.set(4, to: 7) } == .tooLarge(longer))
        // If a frame already exceeds the limit, the editor accepts its size.
        let value = try AMQPValue.uint(1).bytes
        #expect(try Self.edit(bytes, limit: 8) { $0.set(2, to: value) } != .tooLarge(bytes.count))
    }

    @Test func reachesIntoFields() throws {
        let error: AMQPValue = .described(0x1D, .list([.symbol("a:b"), .string("c\0d\0")]))
        let reject = Frame.disposition(0, state: .described(0x25, .list([error])))
        let bytes = try Array(reject.encoded().readableBytesView)
        let edited = try Self.edited(
            try Self.edit(bytes) { performative in
                performative.edit(4) { state in state.edit(0) { $0.replaceZeroBytes(1) } }
            }
        )
        let replaced: AMQPValue = .described(0x1D, .list([.symbol("a:b"), .string("c\u{FFFD}d\u{FFFD}")]))
        #expect(try ReadFrame(edited).field(4) == .described(0x25, .list([replaced])))
        // A field that is not a composite stays unchanged.
        #expect(try Self.edit(bytes) { $0.edit(1) { $0.set(0, to: [0x40]) } } == .unchanged)
    }

    /// Arbitrary bytes are read within their bounds or not at all.
    @Test(arguments: 0..<200)
    func theEditorReadsArbitraryBytesWithinTheirBounds(seed: Int) throws {
        var generator = ValueGenerator(seed: UInt64(seed))
        let bytes = try EncodedFrame(&generator).bytes
        for count in 0...min(bytes.count, 300) {
            var cut = Array(bytes[..<count])
            if !cut.isEmpty { cut[generator.below(cut.count)] = UInt8(generator.below(256)) }
            cut.withUnsafeBytes { bytes in
                guard var editor = FrameEditor(bytes) else { return }
                editor.performative.edit(0) { $0.describe(as: 1) }
                editor.performative.set(3, to: 7)
                _ = editor.result(limit: .max)
            }
        }
    }
}
