import ExampleSupport
import Foundation
import NIOCore
import QpidProton

/// Where the messages come from, one at a time.
protocol MessageSource: AnyObject, Sendable {
    /// The next message and the bytes in its body; nil when there are no more.
    ///
    /// - Parameter whileIdle: Called now and then while the source waits for input.
    func next(whileIdle: () throws -> Void) async throws -> (message: AMQPMessage, bytes: Int)?
    /// What was left out.
    var skipped: Int { get }
}

extension MessageSource {
    var skipped: Int { 0 }
}

/// One text.
///
/// Proof for the classes of this file: one task at a time uses a source, first the one that sends, then the one that reports.
final class TextSource: MessageSource, @unchecked Sendable {
    private var text: String?
    private let isData: Bool

    init(text: String, isData: Bool) {
        self.text = text
        self.isData = isData
    }

    func next(whileIdle: () throws -> Void) -> (message: AMQPMessage, bytes: Int)? {
        guard let text = self.text else { return nil }
        self.text = nil
        let message = self.isData ? AMQPMessage(body: ByteBuffer(string: text)) : AMQPMessage(body: text)
        return (message, text.utf8.count)
    }
}

/// Messages with a number: in the message-id, and at the front of the body as far as there is room.
final class NumberSource: MessageSource, @unchecked Sendable {
    private static let digits = 20
    private let count: Int
    private let filler: ByteBuffer
    private let size: Int
    private var number = 0

    init(count: Int, size: Int) {
        self.count = count
        self.size = size
        self.filler = ByteBuffer(repeating: UInt8(ascii: "."), count: max(0, size - Self.digits))
    }

    func next(whileIdle: () throws -> Void) -> (message: AMQPMessage, bytes: Int)? {
        guard self.number < self.count else { return nil }
        self.number += 1
        var body = ByteBuffer()
        body.reserveCapacity(self.size)
        let digits = min(self.size, Self.digits)
        body.writeRepeatingByte(UInt8(ascii: "0"), count: digits)
        var rest = self.number
        for place in stride(from: digits - 1, through: 0, by: -1) where rest > 0 {
            body.setInteger(UInt8(ascii: "0") + UInt8(rest % 10), at: place)
            rest /= 10
        }
        body.writeImmutableBuffer(self.filler)
        var message = AMQPMessage(body: body)
        message.properties.messageID = .ulong(UInt64(self.number))
        return (message, self.size)
    }
}

/// The files below a directory, read one at a time.
final class DirectorySource: MessageSource, @unchecked Sendable {
    private let walker: TreeWalker

    init(_ path: String) throws {
        self.walker = try TreeWalker(path)
    }

    var skipped: Int { self.walker.skipped }

    func next(whileIdle: () throws -> Void) throws -> (message: AMQPMessage, bytes: Int)? {
        guard let entry = try self.walker.next() else { return nil }
        let message = FileMessage.make(path: entry.path, permissions: entry.permissions, content: entry.content)
        return (message, entry.content.readableBytes)
    }
}

/// The lines of a file or of stdin.
final class LineSource: MessageSource, @unchecked Sendable {
    private static let longestLine = 64 << 20
    private let file: File
    private let name: String
    private let isRegular: Bool
    private var buffer = ByteBuffer()
    /// How much of the buffer is known to hold no line feed.
    private var searched = 0
    private var isAtEnd = false

    init(_ path: String) throws {
        self.name = path == "-" ? "stdin" : path
        self.file =
            path == "-" ? File(descriptor: STDIN_FILENO, isOwned: false) : try File.open(path, O_RDONLY)
        var status = stat()
        guard fstat(self.file.descriptor, &status) == 0 else { throw SystemFailure("look at \(self.name)") }
        self.isRegular = status.st_mode & S_IFMT == S_IFREG
    }

    func next(whileIdle: () throws -> Void) async throws -> (message: AMQPMessage, bytes: Int)? {
        while true {
            if let line = self.takeLine() { return Self.message(line) }
            guard !self.isAtEnd else { return nil }
            guard self.buffer.readableBytes <= Self.longestLine else {
                throw Failure("\(self.name) has a line longer than \(Self.longestLine) bytes")
            }
            while !self.isReadable {
                // A wait in the system would hold a thread that others need, and would not hear of a signal.
                try whileIdle()
                try await Task.sleep(for: .milliseconds(10))
            }
            self.buffer.discardReadBytes()
            if try self.file.read(into: &self.buffer, count: 65_536, what: self.name) == 0 { self.isAtEnd = true }
        }
    }

    private var isReadable: Bool {
        if self.isRegular { return true }
        var request = pollfd(fd: self.file.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 0) != 0
    }

    private func takeLine() -> ByteBuffer? {
        let view = self.buffer.readableBytesView.dropFirst(self.searched)
        if let end = view.firstIndex(of: UInt8(ascii: "\n")) {
            let line = self.buffer.readSlice(length: end - self.buffer.readerIndex)
            self.buffer.moveReaderIndex(forwardBy: 1)
            self.searched = 0
            return line
        }
        self.searched = self.buffer.readableBytes
        guard self.isAtEnd, self.buffer.readableBytes > 0 else { return nil }
        return self.buffer.readSlice(length: self.buffer.readableBytes)
    }

    private static func message(_ line: ByteBuffer) -> (message: AMQPMessage, bytes: Int) {
        guard let text = String(validating: line.readableBytesView, as: UTF8.self) else {
            return (AMQPMessage(body: line), line.readableBytes)
        }
        return (AMQPMessage(body: text), line.readableBytes)
    }
}
