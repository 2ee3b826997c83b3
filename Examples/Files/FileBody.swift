import ExampleSupport
import Foundation
package import NIOCore
import NIOPosix

/// A file was not the same at its end, or when it was read again.
package struct FileChanged: Error, CustomStringConvertible {
    package let description: String

    /// - Parameter name: The file, where it is not named beside the error.
    package init(_ name: String = "it") { self.description = "\(name) changed while it was sent" }
}

/// The bytes of a file or of stdin, in pieces, read on a thread that may wait.
package struct FileBody: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer

    private static let piece = 65_536
    /// A wait for input is broken off this often, so that it hears of a signal.
    private static let pollMilliseconds: Int32 = 100

    private let file: File
    private let name: String
    private let isRegular: Bool
    /// The bytes of a regular file; nil where they are not known.
    package let length: Int?
    /// Called with the number of bytes of each piece; with 0 at the end, and while there is no input.
    private let onRead: @Sendable (Int) -> Void

    /// Opens the file. Suspends while a FIFO has no writer.
    package init(_ path: String, within limit: Duration?, onRead: @escaping @Sendable (Int) -> Void) async throws {
        self.name = path == "-" ? "stdin" : path
        self.file = try await File.input(path, within: limit)
        let status = try self.file.status(what: self.name)
        self.isRegular = status.st_mode & S_IFMT == S_IFREG
        // Files of /proc and /sys have other sizes than the system states: 0, or a page.
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

    /// The next bytes, none at the end; nil when there are none yet.
    private func read() throws -> ByteBuffer? {
        var request = pollfd(fd: self.file.descriptor, events: Int16(POLLIN), revents: 0)
        guard self.isRegular || poll(&request, 1, Self.pollMilliseconds) > 0 else { return nil }
        var buffer = ByteBuffer()
        _ = try self.file.read(into: &buffer, count: Self.piece, what: self.name)
        return buffer
    }
}
