// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import Foundation
package import NIOCore
import NIOPosix

/// The error of a file that changed while it was sent, or before it was read again.
package struct FileChanged: Error, CustomStringConvertible {
    package let description: String

    /// - Parameter name: The file, if the error does not name it otherwise.
    package init(_ name: String = "it") { self.description = "\(name) changed while it was sent" }
}

/// The bytes of a file or of stdin in pieces, read on a thread that may block.
package struct FileBody: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer

    private static let piece = 65_536
    /// The interval at which a wait for input checks for a signal.
    private static let pollMilliseconds: Int32 = 100

    private let file: File
    private let name: String
    private let isRegular: Bool
    /// The size of a regular file in bytes; `nil` if it is unknown.
    package let length: Int?
    /// The closure that receives the number of bytes of each piece, and 0 at the end and while there is no input.
    private let onRead: @Sendable (Int) -> Void

    /// Opens the file. Suspends while a FIFO has no writer.
    package init(_ path: String, within limit: Duration?, onRead: @escaping @Sendable (Int) -> Void) async throws {
        self.name = path == "-" ? "stdin" : path
        self.file = try await File.input(path, within: limit)
        let status = try self.file.status(what: self.name)
        self.isRegular = status.st_mode & S_IFMT == S_IFREG
        // Files of /proc and /sys differ from their reported size: 0, or a page.
        let isKnown = self.isRegular && path != "-" && status.st_size > Self.piece
        self.length = isKnown ? Int(status.st_size) : nil
        self.onRead = onRead
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let body: FileBody
        private var count = 0

        fileprivate init(_ body: FileBody) { self.body = body }

        package mutating func next() async throws -> ByteBuffer? {
            while true {
                try Task.checkCancellation()
                let body = self.body
                let read = try await NIOThreadPool.singleton.runIfActive { try body.read() }
                body.onRead(read?.readableBytes ?? 0)
                guard let read else { continue }
                self.count += read.readableBytes
                let isAtEnd = read.readableBytes == 0
                if let length = body.length, isAtEnd ? self.count < length : self.count > length {
                    throw FileChanged(body.name)
                }
                return isAtEnd ? nil : read
            }
        }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }

    /// Returns the next bytes; none at the end, `nil` if there are none yet.
    private func read() throws -> ByteBuffer? {
        var request = pollfd(fd: self.file.descriptor, events: Int16(POLLIN), revents: 0)
        guard self.isRegular || poll(&request, 1, Self.pollMilliseconds) > 0 else { return nil }
        var buffer = ByteBuffer()
        _ = try self.file.read(into: &buffer, count: Self.piece, what: self.name)
        return buffer
    }
}
