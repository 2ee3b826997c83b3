// SPDX-License-Identifier: Apache-2.0

import ExampleFiles
import ExampleSupport
import Foundation
import NIOCore
import QpidProton

/// The next message of a source.
enum NextMessage {
    /// A message, with this many bytes in its body.
    case message(bytes: Int)
    /// A file to stream.
    case streamed(LargeFile)
    /// No message is available now. The caller asks again later.
    case later
    case end
}

/// Creates messages, one at a time.
protocol MessageSource: AnyObject, Sendable {
    /// Creates the next message. Waits only for files.
    ///
    /// - Parameter message: The last message, or an empty one. Its change in place allocates no memory.
    func next(_ message: inout AMQPMessage) throws -> NextMessage
    /// The number of skipped entries.
    var skipped: Int { get }
    /// The number of symbolic links, which are never sent.
    var links: Int { get }
    /// Skips the last message for a reason that concerns no other message. Throws if the work must end.
    func leaveOut(_ error: any Error) throws
    /// Whether creating a message may wait for a file.
    var isBlocking: Bool { get }
}

extension MessageSource {
    var skipped: Int { 0 }
    var links: Int { 0 }
    func leaveOut(_ error: any Error) throws { throw error }
    var isBlocking: Bool { true }
}

/// A source of one text.
///
/// The classes of this file are Sendable because one task at a time uses a source: first the sending task, then the
/// reporting one.
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

/// Messages with a number in the message-id, and at the front of the body as far as it fits.
final class NumberSource: MessageSource, @unchecked Sendable {
    private struct State {
        static let digits = 20
        let count: Int
        let size: Int
        var number = 0
        /// The body, whose memory is reused once the last message has released it.
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

/// The files below a directory, read one at a time. The source reports each entry that cannot be sent on stderr, and
/// continues with the next.
final class DirectorySource: MessageSource, @unchecked Sendable {
    /// The largest file that is held in memory, in bytes. A larger file is streamed.
    private static let largestWhole = 1 << 20

    private let walker: TreeWalker
    private(set) var skipped = 0
    /// The displayed name of the last file.
    private var last = ""

    init(_ path: String) throws {
        self.walker = try TreeWalker(path)
    }

    var links: Int { self.walker.links }

    func next(_ message: inout AMQPMessage) throws -> NextMessage {
        while let found = self.walker.next() {
            switch found {
            case .file(let file):
                self.last = Console.quoted(file.path)
                do throws(SystemFailure) {
                    guard let content = try file.content(upTo: Self.largestWhole) else {
                        return .streamed(LargeFile(file))
                    }
                    message = FileMessage.make(path: file.path, permissions: file.permissions, content: content)
                    return .message(bytes: content.readableBytes)
                } catch {
                    self.skip(self.last, error.cause)
                }
            case .odd(let name, let reason): self.skip(name, reason)
            }
        }
        return .end
    }

    func leaveOut(_ error: any Error) {
        switch error {
        case let error as SystemFailure: self.skip(self.last, error.cause)
        case let error as AMQPError: self.skip(self.last, error.detail)
        default: self.skip(self.last, "\(error)")
        }
    }

    private func skip(_ name: String, _ reason: String) {
        self.skipped += 1
        Console.error("sender: left out \(name): \(reason)")
    }
}

/// The lines of a file or of stdin, without their ends. A line that is not UTF-8 is sent as binary data.
final class LineSource: MessageSource, @unchecked Sendable {
    private static let longestLine = 64 << 20
    private let file: File
    private let name: String
    private let isRegular: Bool
    private var buffer = ByteBuffer()
    /// The length of the buffer's prefix that holds no line feed.
    private var searched = 0
    private var isAtEnd = false

    /// Opens the file. Suspends while a FIFO has no writer.
    init(_ path: String, within limit: Duration?) async throws {
        self.name = path == "-" ? "stdin" : path
        self.file = try await File.input(path, within: limit)
        self.isRegular = try self.file.status(what: self.name).st_mode & S_IFMT == S_IFREG
    }

    func next(_ message: inout AMQPMessage) throws -> NextMessage {
        while true {
            if let line = self.buffer.readLine(searched: &self.searched, isAtEnd: self.isAtEnd) {
                message = Self.message(line)
                return .message(bytes: line.readableBytes)
            }
            guard !self.isAtEnd else { return .end }
            guard self.buffer.readableBytes <= Self.longestLine else {
                throw Failure("\(self.name) has a line longer than \(Self.longestLine) bytes")
            }
            // A blocking read would hold a thread that other tasks need, and would not notice a signal.
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

    private static func message(_ line: ByteBuffer) -> AMQPMessage {
        String(validating: line.readableBytesView, as: UTF8.self).map { AMQPMessage(body: $0) }
            ?? AMQPMessage(body: line)
    }
}
