// SPDX-License-Identifier: Apache-2.0

package import ExampleSupport
import Foundation
package import NIOCore

/// A directory for files from a peer, which never writes outside it.
///
/// Every step of a path is opened relative to the one before, without symbolic links. A file is written under a
/// temporary name and renamed when it is complete.
package final class ReceivedTree {
    /// The reason why a file was not written.
    package enum Refusal: Error, CustomStringConvertible {
        /// The path leaves the directory or is blocked, which is the peer's fault.
        case path(String)
        /// The system failed.
        case system(SystemFailure)

        package var description: String {
            switch self {
            case .path(let text): text
            case .system(let failure): "\(failure)"
            }
        }
    }

    private let root: File
    /// Directories with changed names since the last ``commit()``.
    private var changed: [File] = []

    /// Opens the directory, and creates it if it does not exist.
    package init(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw Failure("cannot make the directory \(path): \(Self.cause(error))")
        }
        self.root = try File.open(path, O_RDONLY | O_DIRECTORY)
    }

    private static func cause(_ error: any Error) -> String {
        let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        let code = underlying?.code ?? (error as? CocoaError)?.underlying.map { ($0 as NSError).code }
        return code.map { String(cString: strerror(Int32($0))) } ?? "\(error)"
    }

    /// Returns the steps of a path that stays below its directory.
    package static func steps(of path: String) throws(Refusal) -> [String] {
        guard !path.isEmpty else { throw .path("the path is empty") }
        guard path.utf8.count <= 4_095 else { throw .path("the path is longer than 4,095 bytes") }
        guard !path.utf8.contains(0) else { throw .path("the path contains NUL") }
        guard path.utf8.first != UInt8(ascii: "/") else { throw .path("the path is absolute") }
        let steps = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for step in steps {
            guard !step.isEmpty else { throw .path("the path has an empty step") }
            guard step.count <= 255 else { throw .path("the path has a step longer than 255 bytes") }
            if step.elementsEqual(".".utf8) || step.elementsEqual("..".utf8) {
                throw .path("the path has a step that is . or ..")
            }
        }
        return steps.map { String(decoding: $0, as: UTF8.self) }
    }

    /// Writes a file into its place. The file is durable after the next ``commit()``.
    package func write(_ content: ByteBuffer, to path: String, permissions: UInt16) throws(Refusal) {
        let file = try self.begin(path)
        do {
            try file.write(content)
            try self.finish(file, permissions: permissions)
        } catch {
            throw .system(error)
        }
    }

    /// Opens a file for writing under a temporary name. The file is removed unless ``finish(_:permissions:)`` is
    /// called.
    package func begin(_ path: String) throws(Refusal) -> ReceivedFile {
        let steps = try Self.steps(of: path)
        var directory = self.root
        for step in steps.dropLast() { directory = try self.enter(step, below: directory) }
        let name = steps[steps.count - 1]
        var status = stat()
        if fstatat(directory.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT != S_IFREG {
            throw .path("something that is no file is there already")
        }
        do {
            return try ReceivedFile(name, in: directory, shown: Console.quoted(path))
        } catch {
            throw .system(error)
        }
    }

    /// Renames a complete file to its final name. The name is durable after the next ``commit()``.
    package func finish(_ file: ReceivedFile, permissions: UInt16) throws(SystemFailure) {
        try file.finish(permissions)
        self.markChanged(file.directory)
    }

    /// Syncs the directories, which makes the files' names durable. The files' bytes are durable already.
    package func commit() throws(SystemFailure) {
        for directory in self.changed where fsync(directory.descriptor) != 0 { throw SystemFailure("sync a directory") }
        self.changed.removeAll(keepingCapacity: true)
    }

    private func markChanged(_ directory: File) {
        if self.changed.last !== directory { self.changed.append(directory) }
    }

    private func enter(_ step: String, below parent: File) throws(Refusal) -> File {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
        do {
            return try File.open(step, at: parent.descriptor, flags)
        } catch {
            guard error.code == ENOENT else { throw Self.refusal(error) }
        }
        if mkdirat(parent.descriptor, step, 0o777) == 0 {
            self.markChanged(parent)
        } else if errno != EEXIST {
            throw .system(SystemFailure("make the directory \(step)"))
        }
        do {
            return try File.open(step, at: parent.descriptor, flags)
        } catch {
            throw Self.refusal(error)
        }
    }

    private static func refusal(_ failure: SystemFailure) -> Refusal {
        switch failure.code {
        case ELOOP, ENOTDIR, EMLINK: .path("a step of the path is no directory, or a symbolic link")
        default: .system(failure)
        }
    }
}

/// A file during its receipt. It is removed unless it is renamed to its final name.
package final class ReceivedFile {
    fileprivate let directory: File
    private let name: String
    private let temporary: String
    private let shown: String
    private let file: File
    private var isFinished = false

    fileprivate init(_ name: String, in directory: File, shown: String) throws(SystemFailure) {
        (self.name, self.directory, self.shown) = (name, directory, shown)
        // No peer can send a file with this name first.
        self.temporary = ".receiver-\(String(UInt64.random(in: .min ... .max), radix: 36)).part"
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        self.file = try File.open(self.temporary, at: directory.descriptor, flags, mode: 0o600, what: shown)
    }

    deinit { if !self.isFinished { unlinkat(self.directory.descriptor, self.temporary, 0) } }

    package func write(_ bytes: ByteBuffer) throws(SystemFailure) { try self.file.write(bytes, what: self.shown) }

    fileprivate func finish(_ permissions: UInt16) throws(SystemFailure) {
        guard fchmod(self.file.descriptor, mode_t(permissions & 0o777)) == 0 else {
            throw SystemFailure("set the permissions of \(self.shown)")
        }
        guard fsync(self.file.descriptor) == 0 else { throw SystemFailure("sync \(self.shown)") }
        let directory = self.directory.descriptor
        guard renameat(directory, self.temporary, directory, self.name) == 0 else {
            throw SystemFailure("rename a file to \(self.shown)")
        }
        self.isFinished = true
    }
}
