// SPDX-License-Identifier: Apache-2.0

package import Foundation
import NIOConcurrencyHelpers

/// The input that a process reads on stdin.
package enum ProcessInput: Sendable {
    case null
    /// A file with this text.
    case file(String)
    /// A pipe that delivers this text.
    case pipe(String)
}

/// A destination of a process's output, and the written bytes.
package protocol ProcessOutput: Sendable {
    /// The descriptor that the process inherits.
    var end: FileHandle { get }
    /// The bytes that the process has written.
    var bytes: Data { get }
    /// Whether ``bytes`` contains the whole output of a process that has ended.
    var isComplete: Bool { get }

    /// Starts reading. The caller has started the process.
    func start() throws
}

/// A file, so that the process never waits for a reader.
package final class FileOutput: ProcessOutput {
    private let folder: TemporaryFolder
    package let end: FileHandle

    package init() throws {
        self.folder = try TemporaryFolder()
        try Data().write(to: self.folder.file("output"))
        self.end = try FileHandle(forWritingTo: self.folder.file("output"))
    }

    package var bytes: Data { (try? Data(contentsOf: self.folder.file("output"))) ?? Data() }
    package var isComplete: Bool { true }

    package func start() throws { try self.end.close() }
}

/// A pipe or a terminal that a thread reads.
package final class PipeOutput: ProcessOutput {
    private struct State {
        var bytes = Data()
        var isAtEnd = false
        var isReleased = false
    }

    private let reader: FileHandle
    package let end: FileHandle
    private let limit: Int
    private let state: NIOLockedValueBox<State>

    /// - Parameters:
    ///   - limit: The most bytes that the thread reads. A process that writes more must wait.
    ///   - terminalWidth: The columns of the terminal that the process writes to; `nil` for a pipe.
    ///   - isBlocking: Whether a write to a full pipe blocks. If not, the write fails with EAGAIN.
    ///   - isRead: Whether a thread reads the output. If not, the output is a pipe without a reader.
    package init(
        limit: Int = .max,
        terminalWidth: UInt16? = nil,
        isBlocking: Bool = true,
        isRead: Bool = true
    ) throws {
        if let terminalWidth {
            (self.reader, self.end) = try Terminal.open(columns: terminalWidth)
        } else {
            let pipe = Pipe()
            (self.reader, self.end) = (pipe.fileHandleForReading, pipe.fileHandleForWriting)
        }
        self.limit = limit
        self.state = NIOLockedValueBox(State(isAtEnd: !isRead))
        let descriptor = self.end.fileDescriptor
        if !isBlocking { _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) }
        if !isRead { try self.reader.close() }
    }

    deinit {
        self.state.withLockedValue { $0.isReleased = true }
    }

    package var bytes: Data { self.state.withLockedValue { $0.bytes } }
    package var isComplete: Bool { self.state.withLockedValue { $0.isAtEnd } }

    package func start() throws {
        try self.end.close()
        guard !self.isComplete else { return }
        Thread.detachNewThread { [reader, limit, state] in
            var count = 0
            // A read from a terminal fails when the process has closed the other end.
            while count < limit, let data = Self.available(reader), !data.isEmpty {
                count += data.count
                state.withLockedValue { $0.bytes += data }
            }
            state.withLockedValue { $0.isAtEnd = true }
            // The pipe stays open, because closing it would end a process that must wait.
            while limit != .max, state.withLockedValue({ !$0.isReleased }) { usleep(10_000) }
        }
    }

    private static func available(_ handle: FileHandle) -> Data? {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var count = 0
        repeat { count = Foundation.read(handle.fileDescriptor, &bytes, bytes.count) } while count < 0 && errno == EINTR
        return count > 0 ? Data(bytes[..<count]) : nil
    }
}

/// A terminal of a fixed width.
private enum Terminal {
    static func open(columns: UInt16) throws -> (FileHandle, FileHandle) {
        // TIOCSPTLCK and TIOCGPTN of <asm/ioctls.h>, which Swift does not import.
        let (unlock, number) = (UInt(0x4004_5431), UInt(0x8004_5430))
        let front = Foundation.open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard front >= 0 else { throw POSIXError(.ENXIO) }
        let reader = FileHandle(fileDescriptor: front, closeOnDealloc: true)
        var (isLocked, index) = (Int32(0), Int32(0))
        guard ioctl(front, unlock, &isLocked) == 0, ioctl(front, number, &index) == 0 else { throw POSIXError(.ENXIO) }
        let back = Foundation.open("/dev/pts/\(index)", O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard back >= 0 else { throw POSIXError(.ENXIO) }
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        guard ioctl(back, UInt(TIOCSWINSZ), &size) == 0 else { throw POSIXError(.ENXIO) }
        return (reader, FileHandle(fileDescriptor: back, closeOnDealloc: true))
    }
}
