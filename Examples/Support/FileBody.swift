import Foundation
package import NIOCore
import NIOPosix

/// The bytes of a file or of stdin, in pieces, read on a thread that may wait.
package struct FileBody: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer

    private static let piece = 65_536
    /// A wait for input is broken off this often, so that it hears of a signal.
    private static let pollMilliseconds: Int32 = 100

    private let file: File
    private let name: String
    /// The bytes of a regular file; nil where they are not known.
    package let length: Int?
    /// Called with the number of bytes of each piece.
    private let onRead: @Sendable (Int) -> Void

    package init(_ path: String, onRead: @escaping @Sendable (Int) -> Void) throws {
        self.name = path == "-" ? "stdin" : path
        self.file = try path == "-" ? File.standardInput() : File.open(path, O_RDONLY)
        let status = try self.file.status(what: self.name)
        self.length = status.st_mode & S_IFMT == S_IFREG && path != "-" ? Int(status.st_size) : nil
        self.onRead = onRead
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let body: FileBody

        package func next() async throws -> ByteBuffer? {
            while true {
                try Task.checkCancellation()
                let body = self.body
                let read = try await NIOThreadPool.singleton.runIfActive { try body.read() }
                guard let read else { continue }
                self.body.onRead(read.readableBytes)
                return read.readableBytes > 0 ? read : nil
            }
        }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }

    /// The next bytes, none at the end; nil when there are none yet.
    private func read() throws -> ByteBuffer? {
        var request = pollfd(fd: self.file.descriptor, events: Int16(POLLIN), revents: 0)
        guard self.length != nil || poll(&request, 1, Self.pollMilliseconds) > 0 else { return nil }
        var buffer = ByteBuffer()
        _ = try self.file.read(into: &buffer, count: Self.piece, what: self.name)
        return buffer
    }
}
