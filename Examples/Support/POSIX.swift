// SPDX-License-Identifier: Apache-2.0

package import Foundation
package import NIOCore

/// A failed call to the system.
package struct SystemFailure: Error, CustomStringConvertible {
    package let what: String
    package let code: Int32

    /// - Parameter what: The attempt, for example "open notes.txt".
    package init(_ what: String, _ code: Int32 = errno) {
        self.what = what
        self.code = code
    }

    package var description: String { "cannot \(self.what): \(self.cause)" }

    /// The cause in the system's words, for example "Permission denied".
    package var cause: String { String(cString: strerror(self.code)) }
}

/// An open file, closed with its last reference.
package final class File: Sendable {
    package let descriptor: Int32
    private let isOwned: Bool

    package init(descriptor: Int32, isOwned: Bool = true) {
        self.descriptor = descriptor
        self.isOwned = isOwned
    }

    deinit { if self.isOwned { close(self.descriptor) } }

    /// Opens a file; `what` names it in the error.
    package static func open(
        _ name: String,
        at directory: Int32 = AT_FDCWD,
        _ flags: Int32,
        mode: mode_t = 0,
        what: String? = nil
    ) throws(SystemFailure) -> File {
        let descriptor = openat(directory, name, flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw SystemFailure("open \(what ?? name)") }
        return File(descriptor: descriptor)
    }

    /// Reads up to `count` bytes to the end of a buffer; returns their number, 0 at the end of the file.
    ///
    /// - Parameters:
    ///   - offset: The place in a regular file; `nil` for the place after the last read.
    ///   - what: The file's name in the error.
    package func read(
        into buffer: inout ByteBuffer,
        count: Int,
        at offset: Int? = nil,
        what: String
    ) throws(SystemFailure) -> Int {
        while true {
            var result = 0
            var code: Int32 = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { room in
                result =
                    if let offset {
                        pread(self.descriptor, room.baseAddress, count, off_t(offset))
                    } else {
                        Foundation.read(self.descriptor, room.baseAddress, count)
                    }
                code = errno
                return max(0, result)
            }
            if result >= 0 { return result }
            if code == EAGAIN {
                POSIX.wait(for: POLLIN, of: self.descriptor)
            } else if code != EINTR {
                throw SystemFailure("read \(what)", code)
            }
        }
    }

    /// Writes all readable bytes of a buffer; `what` names the file in the error.
    package func write(_ buffer: ByteBuffer, what: String) throws(SystemFailure) {
        let code = buffer.withUnsafeReadableBytes { POSIX.write($0, to: self.descriptor) }
        guard code == 0 else { throw SystemFailure("write \(what)", code) }
    }

    /// Returns the system's information about the file; `what` names the file in the error.
    package func status(what: String) throws(SystemFailure) -> stat {
        var status = stat()
        guard fstat(self.descriptor, &status) == 0 else { throw SystemFailure("look at \(what)") }
        return status
    }
}

/// The only place where the executables write to a descriptor.
package enum POSIX {
    /// Writes all bytes in as many pieces as the descriptor needs, and waits while a non-blocking one is full.
    ///
    /// - Returns: 0, or the number of the error.
    package static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
        var rest = bytes
        while !rest.isEmpty {
            let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                continue
            }
            switch count == 0 ? EIO : errno {
            case EINTR: continue
            // Another process that shares the terminal or the pipe may have made it non-blocking.
            case EAGAIN: self.wait(for: POLLOUT, of: descriptor)
            case let code: return code
            }
        }
        return 0
    }

    /// Writes a text for people, and ignores a failure.
    package static func report(_ text: String) {
        var text = text
        text.withUTF8 { _ = self.write(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
    }

    fileprivate static func wait(for events: Int32, of descriptor: Int32) {
        var request = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        _ = poll(&request, 1, -1)
    }
}
