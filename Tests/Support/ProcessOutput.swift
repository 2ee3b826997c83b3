// SPDX-License-Identifier: Apache-2.0

package import Foundation
import NIOConcurrencyHelpers

/// What a process reads on stdin.
package enum ProcessInput: Sendable {
    case null
    /// A file that holds this text: the process reads it whenever it likes.
    case file(String)
    /// A pipe through which this text comes.
    case pipe(String)
}

/// What a process writes to, and what it has written.
package protocol ProcessOutput: Sendable {
    /// The descriptor that the process gets.
    var end: FileHandle { get }
    /// What the process has written.
    var bytes: Data { get }
    /// Whether ``bytes`` holds all that a process has written that has ended.
    var isComplete: Bool { get }

    /// Begins to read. The process runs.
    func start() throws
}

/// A file: the process never has to wait for its reader.
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
    ///   - limit: The output is read no further than this, so that the process must wait when it writes more.
    ///   - terminalWidth: The columns of the terminal that the process writes to; nil for a pipe.
    ///   - isBlocking: Whether writing to a full pipe blocks. If not, it fails with EAGAIN.
    ///   - isRead: Whether anyone reads. If not, it is a pipe without a reader.
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
            // A terminal that nobody else has open any more ends with an error.
            while count < limit, let data = Self.available(reader), !data.isEmpty {
                count += data.count
                state.withLockedValue { $0.bytes += data }
            }
            state.withLockedValue { $0.isAtEnd = true }
            // The pipe must stay open: closing it would end a process that is to wait.
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

/// A terminal of a fixed width, without a person in front of it.
private enum Terminal {
    static func open(columns: UInt16) throws -> (FileHandle, FileHandle) {
        // What the kernel knows a terminal by: <asm/ioctls.h> is not there for Swift.
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
