// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The pairs of a map in their received form. The decoder has checked the bytes, so reading cannot fail.
///
/// The map shares the memory of the decoded buffer.
final class EncodedMap: Sendable {
    /// Alternating keys and values, starting at the first byte.
    private let bytes: ByteBuffer
    /// The number of keys and values.
    let count: Int

    init(_ bytes: ByteBuffer, count: Int) {
        self.bytes = bytes
        self.count = count
    }

    /// The keys and values, alternating.
    var values: [AMQPValue] {
        ValueReader.passed(self.bytes) { (reader) throws(CodecFault) in try reader.elements(self.count) } ?? []
    }

    /// Returns the pair at an offset, and moves the offset past the pair.
    @inline(__always)
    func pair(at offset: inout Int) -> AMQPMap.Element? {
        ValueReader.passed(self.bytes, from: &offset) { (reader) throws(CodecFault) in
            (key: try reader.value(), value: try reader.value())
        }
    }

    /// Returns the offset of the pair after the one at an offset.
    func offset(after offset: Int) -> Int {
        var offset = offset
        ValueReader.passed(self.bytes, from: &offset) { (reader) throws(CodecFault) in
            try reader.skipValue()
            try reader.skipValue()
        }
        return offset
    }

    /// Returns the value of a text key, in the narrow or the wide form of `kind`.
    func value(_ kind: UInt8, _ key: String) -> AMQPValue? {
        var key = key
        var found: AMQPValue?
        key.withUTF8 { key in
            _ = ValueReader.passed(self.bytes) { (reader) throws(CodecFault) in
                for _ in 0..<self.count / 2 {
                    if try reader.isNextText(kind, UnsafeRawBufferPointer(key)) {
                        found = try reader.value()
                        break
                    }
                    try reader.skipValue()
                }
            }
        }
        return found
    }
}
