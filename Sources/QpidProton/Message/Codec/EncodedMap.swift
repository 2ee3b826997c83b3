// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The pairs of a map in their received form. They have been checked, so nothing here can fail.
///
/// It shares the memory of the buffer that it was decoded from.
final class EncodedMap: Sendable {
    /// Alternating keys and values, from the first byte.
    private let bytes: ByteBuffer
    /// The number of keys and values.
    let count: Int

    init(_ bytes: ByteBuffer, count: Int) {
        self.bytes = bytes
        self.count = count
    }

    /// Keys and values alternately.
    var values: [AMQPValue] {
        ValueReader.passed(self.bytes) { (reader) throws(CodecFault) in try reader.elements(self.count) } ?? []
    }

    /// Returns the key and the value at an offset, which moves past them.
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

    /// Returns the value of a textual key, in its narrow or its wide form of a kind.
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
