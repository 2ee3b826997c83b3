// SPDX-License-Identifier: Apache-2.0

package import ExampleSupport
import Foundation
package import NIOCore

/// Walks the tree below a directory, one entry at a time, without a list of it.
///
/// The walker follows no symbolic links below the directory. It reports an entry that is not a readable file, and
/// continues.
package final class TreeWalker {
    /// An entry of the tree.
    package enum Found {
        /// A regular file, open for reading.
        case file(TreeFile)
        /// An omitted entry: its name, quoted for a terminal, and the reason.
        case odd(name: String, reason: String)
    }

    private struct Level {
        let stream: OpaquePointer
        let prefix: String
    }

    private enum Name {
        case text(String)
        case bytes([UInt8])
        case failure(Int32)
        case end
    }

    /// The longest path that a receiver accepts, in bytes.
    package static let longestPath = 4_095

    private var levels: [Level] = []
    /// The number of omitted symbolic links.
    package private(set) var links = 0

    /// Opens the directory.
    package init(_ directory: String) throws(SystemFailure) {
        Self.allowManyFiles()
        if let code = self.enter(directory, at: AT_FDCWD, O_RDONLY | O_DIRECTORY, prefix: "") {
            throw SystemFailure("open the directory \(directory)", code)
        }
    }

    deinit { for level in self.levels { closedir(level.stream) } }

    /// Each level of a deep tree has an open descriptor.
    private static func allowManyFiles() {
        var limit = rlimit()
        #if os(Linux)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        guard getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 8_192))
        setrlimit(resource, &limit)
    }

    /// Enters a directory. Returns the error number; `nil` on success.
    private func enter(_ name: String, at parent: Int32, _ flags: Int32, prefix: String) -> Int32? {
        let descriptor = openat(parent, name, flags | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        guard let stream = fdopendir(descriptor) else {
            let code = errno
            close(descriptor)
            return code
        }
        self.levels.append(Level(stream: stream, prefix: prefix))
        return nil
    }

    /// Returns the next entry that is neither a directory nor a link; `nil` at the end.
    package func next() -> Found? {
        while let level = self.levels.last {
            switch self.nextName(level) {
            case .text(let name): if let found = self.look(at: name, in: level) { return found }
            case .bytes(let name):
                let path = Array(level.prefix.utf8) + name
                return .odd(name: Console.quoted(path), reason: "the name is not UTF-8")
            case .failure(let code):
                self.leave(level)
                return .odd(name: Console.quoted(level.prefix), reason: String(cString: strerror(code)))
            case .end: self.leave(level)
            }
        }
        return nil
    }

    private func leave(_ level: Level) {
        closedir(level.stream)
        self.levels.removeLast()
    }

    /// Enters a directory, opens a file, counts a link.
    private func look(at name: String, in level: Level) -> Found? {
        let path = level.prefix + name
        func odd(_ reason: String) -> Found { .odd(name: Console.quoted(path), reason: reason) }
        guard path.utf8.count <= Self.longestPath else {
            return odd("the path has more than \(Self.longestPath) bytes")
        }
        var status = stat()
        guard fstatat(dirfd(level.stream), name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            return odd(String(cString: strerror(errno)))
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG:
            do throws(SystemFailure) {
                return .file(try TreeFile(name, at: dirfd(level.stream), path: path))
            } catch {
                return odd(error.cause)
            }
        case S_IFDIR:
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
            let code = self.enter(name, at: dirfd(level.stream), flags, prefix: path + "/")
            return code.map { odd(String(cString: strerror($0))) }
        case S_IFLNK:
            self.links += 1
            return nil
        case S_IFIFO: return odd("it is a FIFO")
        case S_IFSOCK: return odd("it is a socket")
        default: return odd("it is a device")
        }
    }

    private func nextName(_ level: Level) -> Name {
        while true {
            errno = 0
            guard let entry = readdir(level.stream) else { return errno == 0 ? .end : .failure(errno) }
            // The name is read in place, because the entry may be shorter than its type.
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return .end }
            let start = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
            guard let name = String(validatingCString: start) else {
                return .bytes(UnsafeRawBufferPointer(start: start, count: strlen(start)).map { $0 })
            }
            if name != "." && name != ".." { return .text(name) }
        }
    }
}

/// A regular file of a tree, open for reading.
package struct TreeFile: Sendable {
    /// The path below the directory.
    package let path: String
    package let permissions: UInt16
    /// The size of the file in bytes when it was opened.
    package let size: Int
    private let file: File

    /// Opens a file. A symbolic link is an error.
    package init(_ name: String, at directory: Int32 = AT_FDCWD, path: String) throws(SystemFailure) {
        // A FIFO in the file's place must not block.
        self.file = try File.open(name, at: directory, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, what: path)
        let status = try self.file.status(what: path)
        guard status.st_mode & S_IFMT == S_IFREG else { throw SystemFailure("read \(path)", EINVAL) }
        self.path = path
        self.permissions = UInt16(status.st_mode & 0o777)
        self.size = Int(status.st_size)
    }

    /// Reads all bytes; `nil` if there are more than `limit`.
    package func content(upTo limit: Int) throws(SystemFailure) -> ByteBuffer? {
        guard self.size <= limit else { return nil }
        var content = ByteBuffer()
        // One byte more than the size shows the end without growing. Files of /proc have size 0, and some return all
        // bytes at the first read and none at the second.
        content.reserveCapacity(self.size == 0 ? 65_536 : self.size + 1)
        while true {
            let room = max(1, content.writableBytes)
            let count = try self.file.read(into: &content, count: room, at: content.readableBytes, what: self.path)
            if count == 0 { return content.readableBytes == 0 ? ByteBuffer() : content }
            // The file grows during the read.
            guard content.readableBytes <= limit else { return nil }
        }
    }

    /// Reads bytes from an offset; fewer or none at the end of the file.
    package func piece(at offset: Int, _ count: Int) throws(SystemFailure) -> ByteBuffer {
        var piece = ByteBuffer()
        _ = try self.file.read(into: &piece, count: count, at: offset, what: self.path)
        return piece
    }

    /// Computes the SHA-256 of all bytes. Blocks the thread.
    package func digest() throws(SystemFailure) -> String {
        var digest = FileDigest()
        while case let piece = try self.piece(at: digest.count, 1 << 20), piece.readableBytes > 0 { digest.add(piece) }
        return digest.finish()
    }
}
