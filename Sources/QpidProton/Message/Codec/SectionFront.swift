// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The front of a section: its descriptor, constructor and size. The rest of the section may be outstanding.
struct SectionFront: Equatable {
    let section: UInt8
    /// The bytes of the descriptor, the constructor and the size.
    let length: Int
    /// The number of the following bytes; 0 for an amqp-value, whose size is unknown.
    let contentLength: Int

    /// The longest accepted name in a section's descriptor, in bytes.
    private static let longestName = 255

    /// Reads the front at the reader index. Returns `nil` if more bytes are needed.
    static func read(_ buffer: ByteBuffer) throws(AMQPError) -> SectionFront? {
        let front = buffer.withUnsafeReadableBytes { bytes -> Result<SectionFront?, AMQPError> in
            var cursor = ByteCursor(bytes)
            do throws(AMQPError) {
                return .success(try self.read(&cursor))
            } catch {
                return .failure(error)
            }
        }
        return try front.get()
    }

    private static func read(_ cursor: inout ByteCursor) throws(AMQPError) -> SectionFront? {
        guard let first = cursor.byte() else { return nil }
        guard first == Code.described else { throw Self.fault }
        guard let section = try self.section(&cursor), let size = try self.size(&cursor, section) else { return nil }
        return SectionFront(section: section, length: cursor.offset, contentLength: size)
    }

    private static func section(_ cursor: inout ByteCursor) throws(AMQPError) -> UInt8? {
        guard let code = cursor.byte() else { return nil }
        let descriptor: AMQPValue
        switch code {
        case Code.smallUlong:
            guard let number = cursor.byte() else { return nil }
            descriptor = .ulong(UInt64(number))
        case Code.ulong:
            guard let number = cursor.integer(UInt64.self) else { return nil }
            descriptor = .ulong(number)
        case Code.symbol8, Code.symbol32:
            guard let count = cursor.number(isWide: Code.isWide(code)) else { return nil }
            guard count <= self.longestName else { throw self.fault }
            guard let name = cursor.bytes(count) else { return nil }
            descriptor = .symbol(AMQPSymbol(String(decoding: name, as: UTF8.self)))
        default: throw self.fault
        }
        guard let section = Section.number(descriptor) else { throw self.fault }
        return section
    }

    private static func size(_ cursor: inout ByteCursor, _ section: UInt8) throws(AMQPError) -> Int? {
        guard section != Section.value else { return 0 }
        guard let code = cursor.byte() else { return nil }
        switch code {
        // A null counts as empty, because some clients write null for an empty section.
        case Code.list0, Code.null: return 0
        case Code.binary8, Code.list8, Code.map8, Code.binary32, Code.list32, Code.map32:
            return cursor.number(isWide: Code.isWide(code))
        default: throw self.fault
        }
    }

    private static var fault: AMQPError {
        AMQPError(scope: .delivery, condition: .decodeError, detail: "the message does not consist of sections")
    }
}

extension SectionFront {
    /// Returns the offset of the body in the first bytes of a message; `nil` if more bytes are needed.
    ///
    /// - Throws: An error if the bytes are not sections, or the body is not binary data.
    static func bodyStart(_ message: ByteBuffer) throws(AMQPError) -> Int? {
        var rest = message
        while let front = try self.read(rest) {
            if front.section == Section.data { return message.readableBytes - rest.readableBytes }
            guard front.section < Section.data else { throw BodySplitter.notData }
            guard rest.readSlice(length: front.length + front.contentLength) != nil else { return nil }
        }
        return nil
    }
}

/// A parser that extracts the bytes of a message's data sections from pieces of any size.
struct BodySplitter {
    static let notData = AMQPError(
        scope: .delivery,
        condition: .decodeError,
        detail: "the body of the message is not binary data"
    )

    /// The longest accepted footer, in bytes.
    private static let longestFooter = 1 << 20
    /// The received bytes that have not been parsed.
    private var rest = ByteBuffer()
    /// The number of outstanding bytes of the started data section.
    private var dataLeft = 0
    /// The number of outstanding bytes to skip in another section.
    private var skipLeft = 0
    /// The section after the body, once it has arrived.
    private(set) var footer: AMQPMap?

    mutating func append(_ bytes: ByteBuffer) {
        if self.rest.readableBytes == 0 { self.rest = bytes } else { self.rest.writeImmutableBuffer(bytes) }
    }

    /// Returns the next available bytes of the body; `nil` if no bytes are available.
    mutating func next() throws(AMQPError) -> ByteBuffer? {
        while true {
            if self.dataLeft > 0 {
                let count = min(self.dataLeft, self.rest.readableBytes)
                guard count > 0 else { return nil }
                self.dataLeft -= count
                return self.rest.readSlice(length: count)
            }
            let skipped = min(self.skipLeft, self.rest.readableBytes)
            self.rest.moveReaderIndex(forwardBy: skipped)
            self.skipLeft -= skipped
            guard self.skipLeft == 0, let front = try SectionFront.read(self.rest) else { return nil }
            guard self.footer == nil else {
                throw AMQPError(
                    scope: .delivery,
                    condition: .decodeError,
                    detail: "the message has a section after its footer"
                )
            }
            if front.section == Section.footer {
                return try self.takeFooter(front.length + front.contentLength)
            }
            self.rest.moveReaderIndex(forwardBy: front.length)
            switch front.section {
            case Section.data: self.dataLeft = front.contentLength
            case Section.sequence, Section.value: throw Self.notData
            default: self.skipLeft = front.contentLength
            }
        }
    }

    private mutating func takeFooter(_ length: Int) throws(AMQPError) -> ByteBuffer? {
        guard length <= Self.longestFooter else {
            throw AMQPError(
                scope: .delivery,
                condition: .decodeError,
                detail: "the footer of the message has \(length) bytes"
            )
        }
        guard let bytes = self.rest.readSlice(length: length) else { return nil }
        self.footer = try AMQPMessage(decoding: bytes).footer
        return nil
    }

    /// Throws if the message has ended within a section.
    func finish() throws(AMQPError) {
        guard self.dataLeft > 0 || self.skipLeft > 0 || self.rest.readableBytes > 0 else { return }
        throw AMQPError(
            scope: .delivery,
            condition: .decodeError,
            detail: "the message ends in the middle of a section"
        )
    }
}
