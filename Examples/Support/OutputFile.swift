// SPDX-License-Identifier: Apache-2.0

import Foundation
package import NIOCore
import NIOPosix
import Synchronization

/// A file of the user for writing.
///
/// A regular file is replaced when everything is written, and keeps its mode and owner. Any other file, such as a FIFO
/// or a device, is written directly. Both cases follow a symbolic link.
package final class OutputFile: Sendable {
    /// The regular file to replace.
    private struct Replacement {
        let path: String
        let temporary: String
    }

    private let name: String
    private let file: File
    private let replacement: Replacement?
    private let isCommitted = Atomic(false)

    /// Opens a file, or stdout for `-`. Suspends while a FIFO has no reader.
    package init(_ path: String) async throws {
        guard path != "-" else {
            self.name = "stdout"
            self.file = try File.standardOutput()
            self.replacement = nil
            return
        }
        self.name = path
        let existing = try await File.openExisting(path)
        let status = try existing?.status(what: path)
        if let existing, let status, status.st_mode & S_IFMT != S_IFREG {
            self.file = existing
            self.replacement = nil
            return
        }
        let target = try Self.followLinks(path)
        let name = ".receiver-\(getpid())-\(String(UInt32.random(in: .min ... .max), radix: 36)).partial"
        let temporary = Self.folder(of: target) + name
        // The umask determines the mode of a new file.
        self.file = try File.open(
            temporary,
            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
            mode: status == nil ? 0o666 : 0o600,
            what: "a new file beside \(path)"
        )
        self.replacement = Replacement(path: target, temporary: temporary)
        if let status { try self.adopt(status) }
    }

    deinit {
        if let replacement = self.replacement, !self.isCommitted.load(ordering: .relaxed) {
            unlink(replacement.temporary)
        }
    }

    /// Copies the owner and the mode of the replaced file to the temporary one.
    private func adopt(_ status: stat) throws(SystemFailure) {
        let own = try self.file.status(what: self.name)
        if own.st_uid != status.st_uid || own.st_gid != status.st_gid {
            guard fchown(self.file.descriptor, status.st_uid, status.st_gid) == 0 else {
                throw SystemFailure("keep the owner of \(self.name)")
            }
        }
        guard fchmod(self.file.descriptor, status.st_mode & 0o7777) == 0 else {
            throw SystemFailure("keep the mode of \(self.name)")
        }
    }

    /// Resolves the symbolic links of a path, also if the file does not exist.
    private static func followLinks(_ path: String) throws(SystemFailure) -> String {
        var path = path
        for _ in 0..<40 {
            var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink(path, &bytes, bytes.count)
            // A path that is not a link ends the walk.
            guard count >= 0 else { return path }
            guard let link = String(validating: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) else {
                throw SystemFailure("follow the link \(path)", EILSEQ)
            }
            path = link.utf8.first == UInt8(ascii: "/") ? link : self.folder(of: path) + link
        }
        throw SystemFailure("follow the link \(path)", ELOOP)
    }

    /// Returns the path up to its last slash; empty for a bare name.
    private static func folder(of path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? ""
    }

    /// Writes bytes. The reader of a pipe may block the write forever, so after a cancellation the call does not wait
    /// for it.
    package func write(_ bytes: ByteBuffer) async throws {
        let (file, name) = (self.file, self.name)
        if self.replacement == nil {
            try await Blocking.run { try file.write(bytes, what: name) }
        } else {
            try await NIOThreadPool.singleton.runIfActive { try file.write(bytes, what: name) }
        }
    }

    /// Makes the written bytes durable, and renames a regular file to its final name.
    package func commit() throws(SystemFailure) {
        // A pipe or a terminal has nothing to sync.
        if fsync(self.file.descriptor) != 0, errno != EINVAL, errno != EROFS, errno != ENOTSUP {
            throw SystemFailure("write \(self.name)")
        }
        guard let replacement = self.replacement else { return }
        guard rename(replacement.temporary, replacement.path) == 0 else {
            throw SystemFailure("rename a file to \(self.name)")
        }
        self.isCommitted.store(true, ordering: .relaxed)
    }
}

extension File {
    /// Opens the user's file for writing in place; `nil` if it does not exist. Follows symbolic links.
    ///
    /// Suspends while a FIFO has no reader.
    package static func openExisting(_ path: String, _ flags: Int32 = 0) async throws -> File? {
        while true {
            do throws(SystemFailure) {
                return try File.open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | flags)
            } catch {
                if error.code == ENOENT { return nil }
                guard error.code == ENXIO, self.isFIFO(path) else { throw error }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private static func isFIFO(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }
}
