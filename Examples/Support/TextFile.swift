// SPDX-License-Identifier: Apache-2.0

import Foundation
package import NIOCore

extension ByteBuffer {
    /// Removes the first line and returns it without its end, which is LF or CRLF. A CR elsewhere is part of the line.
    ///
    /// - Parameters:
    ///   - searched: The number of bytes at the start without an LF. The call updates the number.
    ///   - isAtEnd: Whether no more bytes follow, so that the rest is a line too.
    package mutating func readLine(searched: inout Int, isAtEnd: Bool) -> ByteBuffer? {
        let view = self.readableBytesView.dropFirst(searched)
        guard let end = view.firstIndex(of: UInt8(ascii: "\n")) else {
            searched = self.readableBytes
            guard isAtEnd, self.readableBytes > 0 else { return nil }
            searched = 0
            return self.readSlice(length: self.readableBytes)
        }
        searched = 0
        var line = self.readSlice(length: end - self.readerIndex)
        self.moveReaderIndex(forwardBy: 1)
        if let count = line?.readableBytes, count > 0, line?.readableBytesView.last == UInt8(ascii: "\r") {
            line = line?.getSlice(at: line?.readerIndex ?? 0, length: count - 1)
        }
        return line
    }
}

/// A small UTF-8 text file of the user, such as one with a password.
package enum TextFile {
    /// The largest size of such a file, in bytes.
    private static let limit = 16 << 20

    /// Reads the first lines of a file, without their ends.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - most: The number of lines. The rest is neither read nor checked.
    ///   - limit: The time for reading, for example from a FIFO; `nil` for no limit.
    /// - Throws: A failure of one line if the file cannot be read, or if a line has a NUL byte or is not UTF-8.
    package static func lines(of path: String, most: Int = .max, within limit: Duration?) async throws -> [String] {
        try await Blocking.run(within: limit, "read \(path)") { try self.read(path, most) }
    }

    private static func read(_ path: String, _ most: Int) throws -> [String] {
        let file = try File.open(path, O_RDONLY)
        var (buffer, searched, isAtEnd) = (ByteBuffer(), 0, false)
        var lines: [String] = []
        while lines.count < most {
            if let line = buffer.readLine(searched: &searched, isAtEnd: isAtEnd) {
                lines.append(try self.text(line, "line \(lines.count + 1) of \(path)"))
                continue
            }
            guard !isAtEnd else { break }
            guard buffer.writerIndex <= self.limit else {
                throw Failure("cannot use \(path): it has more than \(Units.bytes(self.limit))")
            }
            isAtEnd = try file.read(into: &buffer, count: 65_536, what: path) == 0
        }
        return lines
    }

    private static func text(_ line: ByteBuffer, _ what: String) throws -> String {
        guard !line.readableBytesView.contains(0) else { throw Failure("\(what) has a NUL byte") }
        guard let text = String(validating: line.readableBytesView, as: UTF8.self) else {
            throw Failure("\(what) is not UTF-8")
        }
        return text
    }
}
