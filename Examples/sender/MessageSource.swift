import ExampleSupport
import Foundation
import NIOCore
import QpidProton

/// What a source has.
enum NextMessage {
    /// A message, with so many bytes in its body.
    case message(bytes: Int)
    /// Nothing now: ask again later.
    case later
    case end
}

/// Where the messages come from, one at a time.
protocol MessageSource: AnyObject, Sendable {
    /// Makes the next message. Never waits longer than for a file.
    ///
    /// - Parameter message: The last message, or an empty one. What is changed in place costs no memory.
    func next(_ message: inout AMQPMessage) throws -> NextMessage
    /// What was left out.
    var skipped: Int { get }
    /// Whether making a message may wait for a file.
    var isBlocking: Bool { get }
}

extension MessageSource {
    var skipped: Int { 0 }
    var isBlocking: Bool { true }
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

    func next(_ message: inout AMQPMessage) -> NextMessage {
        guard let text = self.text else { return .end }
        self.text = nil
        message = self.isData ? AMQPMessage(body: ByteBuffer(string: text)) : AMQPMessage(body: text)
        return .message(bytes: text.utf8.count)
    }
}

/// Messages with a number: in the message-id, and at the front of the body as far as there is room.
final class NumberSource: MessageSource, @unchecked Sendable {
    private struct State {
        static let digits = 20
        let count: Int
        let size: Int
        var number = 0
        /// Used again for the next message: its memory is free as soon as that of the last one is.
        var body: ByteBuffer

        mutating func next(_ message: inout AMQPMessage) -> NextMessage {
            guard self.number < self.count else { return .end }
            self.number += 1
            message.bodyBytes = nil
            var rest = self.number
            for place in stride(from: min(self.size, Self.digits) - 1, through: 0, by: -1) where rest > 0 {
                self.body.setInteger(UInt8(ascii: "0") + UInt8(rest % 10), at: place)
                rest /= 10
            }
            message.bodyBytes = self.body
            message.properties.messageID = .ulong(UInt64(self.number))
            return .message(bytes: self.size)
        }
    }

    private var state: State
    var isBlocking: Bool { false }

    init(count: Int, size: Int) {
        var body = ByteBuffer(repeating: UInt8(ascii: "."), count: size)
        body.setRepeatingByte(UInt8(ascii: "0"), count: min(size, State.digits), at: 0)
        self.state = State(count: count, size: size, body: body)
    }

    func next(_ message: inout AMQPMessage) -> NextMessage {
        self.state.next(&message)
    }
}

/// The files below a directory, read one at a time.
final class DirectorySource: MessageSource, @unchecked Sendable {
    private let walker: TreeWalker

    init(_ path: String) throws {
        self.walker = try TreeWalker(path)
    }

    var skipped: Int { self.walker.skipped }

    func next(_ message: inout AMQPMessage) throws -> NextMessage {
        guard let entry = try self.walker.next() else { return .end }
        message = FileMessage.make(path: entry.path, permissions: entry.permissions, content: entry.content)
        return .message(bytes: entry.content.readableBytes)
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

    func next(_ message: inout AMQPMessage) throws -> NextMessage {
        while true {
            if let line = self.takeLine() {
                message = Self.message(line)
                return .message(bytes: line.readableBytes)
            }
            guard !self.isAtEnd else { return .end }
            guard self.buffer.readableBytes <= Self.longestLine else {
                throw Failure("\(self.name) has a line longer than \(Self.longestLine) bytes")
            }
            // A wait in the system would hold a thread that others need, and would not hear of a signal.
            guard self.isReadable else { return .later }
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

    private static func message(_ line: ByteBuffer) -> AMQPMessage {
        String(validating: line.readableBytesView, as: UTF8.self).map { AMQPMessage(body: $0) }
            ?? AMQPMessage(body: line)
    }
}
