// SPDX-License-Identifier: Apache-2.0

/// A delivery-tag that carries a message-format through Proton 0.37, which stores no format and always sends 0.
///
/// A marked tag is longer than any legal tag: the tag padded to 32 bytes, its length in one byte, and the format in
/// four. Only Proton sees a marked tag, because ``OutgoingEdits`` and ``IncomingEdits`` convert it to and from the two
/// fields of the frame.
enum MarkedTag {
    /// The maximum length of a tag in bytes. Source: AMQP 1.0 §2.8.7.
    static let longest = 32
    /// The length of a marked tag, in bytes.
    static let count = Self.longest + 5

    static func bytes(_ tag: some Collection<UInt8>, format: UInt32) -> [UInt8] {
        Array(tag) + Array(repeating: 0, count: Self.longest - tag.count) + [UInt8(tag.count)]
            + withUnsafeBytes(of: format.bigEndian) { Array($0) }
    }

    /// Returns the tag and the format; `nil` for a tag without a mark.
    static func read(_ bytes: UnsafeRawBufferPointer) -> (tag: UnsafeRawBufferPointer, format: UInt32)? {
        guard bytes.count == Self.count, bytes[Self.longest] <= Self.longest,
            bytes[Int(bytes[Self.longest])..<Self.longest].allSatisfy({ $0 == 0 })
        else { return nil }
        let format = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: Self.longest + 1, as: UInt32.self))
        return (UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(bytes[Self.longest]))), format)
    }
}
