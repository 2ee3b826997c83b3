// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport

@testable import QpidProton

/// Edits every frame of the input, and passes the frames on as to Proton. Only the replaced bytes may change, and the
/// result must not depend on the cuts in the stream.
///
/// The lower half of the first byte is the number of following bytes that hold the lengths of the pieces, as for
/// ``FuzzFrameTap``. The upper half chooses the field. The byte behind the lengths is the value of that field.
enum FuzzFrameEditor {
    static func run(_ bytes: UnsafeRawBufferPointer) throws {
        guard let first = bytes.first, bytes.count > 2 + Int(first & 15) else { return }
        let count = Int(first & 15)
        let lengths = bytes[1..<1 + count].map { Int($0) + 1 }
        let value: [UInt8] = [0x50, bytes[1 + count]]
        let stream = UnsafeRawBufferPointer(rebasing: bytes[(2 + count)...])
        try Self.edit(stream, field: Int(first >> 4), value)
        let whole = try Self.pass(stream, cut: [max(1, stream.count)])
        for cut in [[1], lengths] where !cut.isEmpty {
            try FuzzTarget.require(try Self.pass(stream, cut: cut) == whole, "the cut stream has another result")
        }
    }

    /// Replaces a field of each complete frame, and checks the result with the message decoder.
    private static func edit(_ stream: UnsafeRawBufferPointer, field: Int, _ value: [UInt8]) throws {
        var tap = FrameScanner(maxSize: 1 << 20)
        var edits: [(old: [UInt8], new: FrameEditor.Result)] = []
        FuzzDialogue.header.withUnsafeReadableBytes { tap.consume($0) { _ in nil } }
        tap.consume(stream) { head in
            guard var editor = FrameEditor(head) else { return nil }
            editor.performative.set(field, to: value)
            edits.append((Array(head), editor.result(limit: head.count + 64)))
            return nil
        }
        var passed: [UInt8] = []
        tap.forEachPart(of: stream) { passed += $0 }
        try FuzzTarget.require(stream.starts(with: passed), "bytes that were not replaced have changed")
        for (old, new) in edits { try Self.check(old, new, field, value) }
    }

    private static func check(_ old: [UInt8], _ new: FrameEditor.Result, _ field: Int, _ value: [UInt8]) throws {
        guard case .edited(let bytes) = new else { return }
        guard let before = Self.read(old) else { return }
        guard let after = Self.read(bytes) else { throw ModelFailure("the edited frame cannot be read") }
        try FuzzTarget.require(after.front == before.front, "another header")
        try FuzzTarget.require(after.descriptor == before.descriptor, "another descriptor")
        try FuzzTarget.require(after.rest == before.rest, "another payload")
        try FuzzTarget.require(after.size - before.size == bytes.count - old.count, "another size")
        try FuzzTarget.require(after.fields.count == max(before.fields.count, field + 1), "another number of fields")
        for index in after.fields.indices {
            let expected =
                index == field ? .ubyte(value[1]) : index < before.fields.count ? before.fields[index] : .null
            try FuzzTarget.require(after.fields[index] == expected, "field \(index) is \(after.fields[index])")
        }
    }

    private struct Read {
        var front: [UInt8]
        var size: Int
        var descriptor: AMQPValue
        var fields: [AMQPValue]
        var rest: [UInt8]
    }

    private static func read(_ frame: [UInt8]) -> Read? {
        let offset = Int(frame[4]) * 4
        var body = FuzzTarget.buffer(frame[offset...])
        guard case .described(let performative)? = try? AMQPValue(decoding: &body),
            let fields = performative.value.listValue
        else { return nil }
        return Read(
            front: Array(frame[4..<offset]),
            size: frame.prefix(4).reduce(0) { $0 << 8 | Int($1) },
            descriptor: performative.descriptor,
            fields: fields,
            rest: Array(body.readableBytesView)
        )
    }

    /// Returns the bytes that Proton would read; `nil` if the stream has a violation.
    private static func pass(_ stream: UnsafeRawBufferPointer, cut lengths: [Int]) throws -> [UInt8]? {
        let observer = FrameObserver(maxFrameSize: 65_536, openLinks: 64)
        FuzzDialogue.header.withUnsafeReadableBytes { _ = observer.received($0) }
        // After this side's `open`, the observer marks the message formats.
        var own: ByteBuffer? = FuzzDialogue.header
        own?.writeImmutableBuffer(try Frame.open().encoded())
        observer.sent(&own)
        var passed: [UInt8] = []
        var offset = 0
        var piece = 0
        while offset < stream.count {
            let end = min(stream.count, offset + lengths[piece % lengths.count])
            let violation = Array(stream[offset..<end]).withUnsafeBytes { bytes -> AMQPError? in
                var rest = bytes
                while !rest.isEmpty {
                    // A frame that must wait for an answer to earlier frames is passed in again.
                    let reading = observer.received(rest)
                    if let violation = reading.violation { return violation }
                    observer.forEachPart(of: UnsafeRawBufferPointer(rebasing: rest[..<reading.count])) { passed += $0 }
                    rest = UnsafeRawBufferPointer(rebasing: rest[reading.count...])
                }
                return nil
            }
            if violation != nil { return nil }
            offset = end
            piece += 1
        }
        return passed
    }
}
