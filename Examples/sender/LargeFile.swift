// SPDX-License-Identifier: Apache-2.0

import ExampleFiles
import ExampleSupport
import NIOCore
import NIOPosix
import QpidProton

/// A file that is streamed instead of held in memory. It is read once for its SHA-256, which precedes the body, and
/// once for the body.
struct LargeFile: Sendable {
    fileprivate static let piece = 65_536
    private static let hashedAtOnce = 64
    fileprivate let file: TreeFile

    init(_ file: TreeFile) { self.file = file }

    /// Computes the digest.
    ///
    /// - Parameter onRead: Called after each read.
    func digest(_ onRead: () -> Void) async throws -> FileDigest {
        var digest = FileDigest()
        let file = self.file
        var isAtEnd = false
        while !isAtEnd {
            try Task.checkCancellation()
            let before = digest
            (digest, isAtEnd) = try await NIOThreadPool.singleton.runIfActive {
                var digest = before
                for _ in 0..<Self.hashedAtOnce {
                    let piece = try file.piece(at: digest.count, Self.piece)
                    guard piece.readableBytes > 0 else { return (digest, true) }
                    digest.add(piece)
                }
                return (digest, false)
            }
            onRead()
        }
        return digest
    }

    /// Returns the message without its body.
    func message(_ digest: FileDigest) -> AMQPMessage {
        FileMessage.make(path: self.file.path, permissions: self.file.permissions, digest: digest.finish())
    }

    /// Returns the bytes of the file, which end with `FileChanged` if their digest differs.
    ///
    /// - Parameter onRead: Called with the number of bytes of each piece.
    func body(_ digest: FileDigest, onRead: @escaping @Sendable (Int) -> Void) -> Body {
        Body(file: self.file, expected: digest, onRead: onRead)
    }

    struct Body: AsyncSequence, Sendable {
        typealias Element = ByteBuffer

        fileprivate let file: TreeFile
        fileprivate let expected: FileDigest
        fileprivate let onRead: @Sendable (Int) -> Void

        struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let body: Body
            private var digest = FileDigest()

            fileprivate init(_ body: Body) { self.body = body }

            mutating func next() async throws -> ByteBuffer? {
                try Task.checkCancellation()
                let (body, before) = (self.body, self.digest)
                let count = Swift.min(LargeFile.piece, body.expected.count - before.count)
                guard count > 0 else {
                    guard before.finish() == body.expected.finish() else { throw FileChanged() }
                    return nil
                }
                let piece: ByteBuffer
                (piece, self.digest) = try await NIOThreadPool.singleton.runIfActive {
                    var digest = before
                    let piece = try body.file.piece(at: digest.count, count)
                    digest.add(piece)
                    return (piece, digest)
                }
                guard piece.readableBytes > 0 else { throw FileChanged() }
                body.onRead(piece.readableBytes)
                return piece
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
    }
}
