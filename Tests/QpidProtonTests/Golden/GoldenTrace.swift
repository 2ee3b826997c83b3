// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The bytes of both directions of a dialogue, as text. Each step has a title. Below it, each frame of the library
/// (`>`) and of its peer (`<`) has one line in hexadecimal.
///
/// A run of one byte is written as its length and the byte, as in `70000×41`.
final class GoldenTrace {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Traces")
    /// Whether the tests write the files instead of comparing the traces with them.
    private static let isRecording = ProcessInfo.processInfo.environment["QPID_PROTON_RECORD_TRACES"] != nil

    let peer: InMemoryPeer
    private var text = ""
    /// The number of bytes of each direction that the text already contains.
    private var seen = (ofLibrary: 0, ofPeer: 0)

    init(_ peer: InMemoryPeer) { self.peer = peer }

    /// Runs a step, waits until no byte is in transit, and adds the frames of both sides.
    func step<Value>(_ title: String, _ body: () async throws -> Value) async throws -> Value {
        let value = try await body()
        await self.peer.settle()
        try await self.add(title)
        return value
    }

    private func add(_ title: String) async throws {
        let (ofLibrary, ofPeer) = try await self.peer.run { ($0.toPeer.record, $0.toLibrary.record) }
        self.text += "# \(title)\n"
        self.add(ofLibrary, from: self.seen.ofLibrary, ">")
        self.add(ofPeer, from: self.seen.ofPeer, "<")
        self.seen = (ofLibrary.readableBytes, ofPeer.readableBytes)
    }

    private func add(_ record: ByteBuffer, from start: Int, _ mark: String) {
        var rest = record
        rest.moveReaderIndex(forwardBy: start)
        if start == 0, let header = rest.readSlice(length: 8) { self.text += "\(mark) header \(Self.hex(header))\n" }
        while let size = rest.getInteger(at: rest.readerIndex, as: UInt32.self), size >= 8,
            let bytes = rest.readSlice(length: Int(size))
        {
            let frame = Frame.parse(bytes, header: false)[0]
            self.text += "\(mark) \(frame.channel) \(frame.code.map { "\($0)" } ?? "empty") \(Self.hex(bytes))\n"
        }
        // The remaining bytes are not a complete frame.
        if rest.readableBytes > 0 { self.text += "\(mark) bytes \(Self.hex(rest))\n" }
    }

    static func hex(_ bytes: ByteBuffer) -> String {
        var parts: [String] = []
        var plain = ""
        let view = bytes.readableBytesView
        var index = view.startIndex
        while index < view.endIndex {
            let byte = view[index]
            let end = view[index...].firstIndex { $0 != byte } ?? view.endIndex
            let digits = (byte < 16 ? "0" : "") + String(byte, radix: 16)
            if end - index >= 16 {
                if !plain.isEmpty { parts.append(plain) }
                plain = ""
                parts.append("\(end - index)×\(digits)")
            } else {
                plain += String(repeating: digits, count: end - index)
            }
            index = end
        }
        if !plain.isEmpty { parts.append(plain) }
        return parts.joined(separator: " ")
    }

    /// Compares the text with the file named `name`.
    func check(_ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let file = Self.folder.appending(path: "\(name).txt")
        if Self.isRecording { return try self.text.write(to: file, atomically: true, encoding: .utf8) }
        let lines = self.text.split(separator: "\n", omittingEmptySubsequences: false)
        let golden = try String(contentsOf: file, encoding: .utf8).split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        guard lines != golden else { return }
        let first = zip(lines, golden).enumerated().first { $1.0 != $1.1 }?.offset ?? min(lines.count, golden.count)
        let step = golden.prefix(first + 1).last { $0.hasPrefix("#") } ?? "the beginning"
        func line(_ lines: [Substring]) -> Substring { first < lines.count ? lines[first] : "the end" }
        Issue.record(
            """
            \(name).txt:\(first + 1), in the step "\(step.dropFirst(2))":
            committed \(line(golden))
            now       \(line(lines))
            """,
            sourceLocation: sourceLocation
        )
    }
}
