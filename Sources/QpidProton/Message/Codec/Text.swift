extension UnsafeRawBufferPointer {
    /// Whether no byte has its top bit set; eight bytes at a time.
    @inline(__always)
    var isASCII: Bool {
        guard let base = self.baseAddress else { return true }
        var offset = 0
        var bits: UInt64 = 0
        while self.count &- offset >= 8 {
            bits |= base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            offset &+= 8
        }
        while offset < self.count {
            bits |= UInt64(base.load(fromByteOffset: offset, as: UInt8.self))
            offset &+= 1
        }
        return bits & 0x8080_8080_8080_8080 == 0
    }

    /// How many bytes at the front are whole, valid UTF-8 sequences.
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
