package import Foundation
package import NIOCore

/// A call to the system that failed.
package struct SystemFailure: Error, CustomStringConvertible {
    package let what: String
    package let code: Int32

    /// - Parameter what: What was tried, for example "open notes.txt".
    package init(_ what: String, _ code: Int32 = errno) {
        self.what = what
        self.code = code
    }

    package var description: String { "cannot \(self.what): \(String(cString: strerror(self.code)))" }
}

/// An open file, closed when nobody keeps it any more.
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
    package func read(into buffer: inout ByteBuffer, count: Int, what: String) throws(SystemFailure) -> Int {
        while true {
            var result = 0
            var code: Int32 = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { room in
                result = Foundation.read(self.descriptor, room.baseAddress, count)
                code = errno
                return max(0, result)
            }
            if result >= 0 { return result }
            if code != EINTR { throw SystemFailure("read \(what)", code) }
        }
    }

    package func write(_ buffer: ByteBuffer, what: String) throws(SystemFailure) {
        var rest = buffer
        while rest.readableBytes > 0 {
            let (count, code) = rest.withUnsafeReadableBytes { bytes in
                (Foundation.write(self.descriptor, bytes.baseAddress, bytes.count), errno)
            }
            if count >= 0 {
                rest.moveReaderIndex(forwardBy: count)
            } else if code != EINTR {
                throw SystemFailure("write \(what)", code)
            }
        }
    }
}
