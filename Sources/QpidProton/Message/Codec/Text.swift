// SPDX-License-Identifier: Apache-2.0

extension UnsafeRawBufferPointer {
    /// Whether no byte has its top bit set. Checks up to eight bytes at a time, in loads that may overlap.
    @inline(__always)
    var isASCII: Bool {
        guard let base = self.baseAddress else { return true }
        var bits: UInt64 = 0
        if self.count >= 8 {
            var offset = 0
            let lastOffset = self.count &- 8
            while offset < lastOffset {
                bits |= base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                offset &+= 8
            }
            bits |= base.loadUnaligned(fromByteOffset: lastOffset, as: UInt64.self)
        } else if self.count >= 4 {
            bits = UInt64(base.loadUnaligned(as: UInt32.self))
            bits |= UInt64(base.loadUnaligned(fromByteOffset: self.count &- 4, as: UInt32.self))
        } else {
            for byte in self { bits |= UInt64(byte) }
        }
        return bits & 0x8080_8080_8080_8080 == 0
    }

    /// Returns whether the bytes are equal. Compares up to eight bytes at a time, in loads that may overlap.
    @inline(__always)
    func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
        guard self.count == other.count else { return false }
        guard let base = self.baseAddress, let others = other.baseAddress else { return true }
        if self.count >= 8 {
            let lastOffset = self.count &- 8
            for offset in stride(from: 0, to: lastOffset, by: 8) {
                let word = base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                guard word == others.loadUnaligned(fromByteOffset: offset, as: UInt64.self) else { return false }
            }
            return base.loadUnaligned(fromByteOffset: lastOffset, as: UInt64.self)
                == others.loadUnaligned(fromByteOffset: lastOffset, as: UInt64.self)
        }
        if self.count >= 4 {
            let lastOffset = self.count &- 4
            return base.loadUnaligned(as: UInt32.self) == others.loadUnaligned(as: UInt32.self)
                && base.loadUnaligned(fromByteOffset: lastOffset, as: UInt32.self)
                    == others.loadUnaligned(fromByteOffset: lastOffset, as: UInt32.self)
        }
        return self.elementsEqual(other)
    }

    /// Creates a string without a check. The caller has checked that the bytes are ASCII.
    @inline(__always)
    var asciiString: String {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            let bytes = self.assumingMemoryBound(to: UInt8.self)
            return String(copying: UTF8Span(unchecked: bytes.span, isKnownASCII: true))
        }
        return String(decoding: self, as: UTF8.self)
    }

    /// The length in bytes of the longest prefix of complete, valid UTF-8 sequences.
    var validUTF8Prefix: Int {
        var decoder = UTF8.ForwardParser()
        var bytes = self.makeIterator()
        var length = 0
        while case .valid(let scalar) = decoder.parseScalar(from: &bytes) {
            length += scalar.count
        }
        return length
    }
}
