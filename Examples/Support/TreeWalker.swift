import Foundation
package import NIOCore

/// Goes through the regular files below a directory, one at a time, and holds no list of them.
///
/// It follows no symbolic links below the directory; they, and what is neither file nor directory, are counted and left out.
package final class TreeWalker {
    /// One file with all its bytes.
    package struct Entry {
        /// The path below the directory.
        package let path: String
        package let permissions: UInt16
        package let content: ByteBuffer
    }

    private struct Level {
        let stream: OpaquePointer
        let prefix: String
    }

    private var levels: [Level] = []
    /// What was neither a file nor a directory.
    package private(set) var skipped = 0

    package init(_ directory: String) throws(SystemFailure) {
        try self.enter(directory, at: AT_FDCWD, O_RDONLY | O_DIRECTORY, prefix: "", shown: directory)
    }

    deinit { for level in self.levels { closedir(level.stream) } }

    private func enter(
        _ name: String,
        at parent: Int32,
        _ flags: Int32,
        prefix: String,
        shown: String
    ) throws(SystemFailure) {
        let descriptor = openat(parent, name, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure("open the directory \(shown)") }
        guard let stream = fdopendir(descriptor) else {
            let code = errno
            close(descriptor)
            throw SystemFailure("read the directory \(shown)", code)
        }
        self.levels.append(Level(stream: stream, prefix: prefix))
    }

    /// The next file, read as a whole; nil when there are no more.
    package func next() throws -> Entry? {
        while let level = self.levels.last {
            guard let name = try self.nextName(level) else {
                closedir(level.stream)
                self.levels.removeLast()
                continue
            }
            let path = level.prefix + name
            var status = stat()
            guard fstatat(dirfd(level.stream), name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                throw SystemFailure("look at \(path)")
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
                try self.enter(name, at: dirfd(level.stream), flags, prefix: path + "/", shown: path)
            case S_IFREG: return try Self.read(name, at: dirfd(level.stream), shown: path)
            default: self.skipped += 1
            }
        }
        return nil
    }

    private func nextName(_ level: Level) throws -> String? {
        while true {
            errno = 0
            guard let entry = readdir(level.stream) else {
                if errno != 0 { throw SystemFailure("read the directory \(level.prefix)") }
                return nil
            }
            // The name is read where it lies: the entry may be shorter than its type.
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return nil }
            let start = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
            guard let name = String(validatingCString: start) else {
                throw Failure("a file's name below \(level.prefix)/ is not UTF-8: \(String(cString: start))")
            }
            if name != "." && name != ".." { return name }
        }
    }

    /// Reads a whole file; a symbolic link is an error.
    package static func read(
        _ name: String,
        at directory: Int32 = AT_FDCWD,
        shown path: String
    ) throws(SystemFailure) -> Entry {
        let file = try File.open(name, at: directory, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, what: path)
        var status = stat()
        guard fstat(file.descriptor, &status) == 0 else { throw SystemFailure("look at \(path)") }
        var content = ByteBuffer()
        // One byte of room more than the size shows the end without growing.
        content.reserveCapacity(Int(status.st_size) + 1)
        while try file.read(into: &content, count: max(1, min(1 << 20, content.writableBytes)), what: path) > 0 {}
        return Entry(path: path, permissions: UInt16(status.st_mode & 0o777), content: content)
    }
}
