// SPDX-License-Identifier: Apache-2.0

import ExampleFiles
import ExampleSupport
import Foundation
import NIOCore
import QpidProton

/// The destination of messages. A written message survives a failure of this process.
protocol Sink: AnyObject {
    /// Writes messages, and returns one verdict for each. Throws if this side fails: then no message may be accepted.
    func take(_ batch: [AMQPDelivery]) async throws -> [Verdict]
    /// Whether writing messages may block for a file.
    var isBlocking: Bool { get }
    /// Whether the sink itself reports the bytes of its messages as progress.
    var showsProgress: Bool { get }
}

extension Sink {
    var isBlocking: Bool { true }
    var showsProgress: Bool { false }

    /// Decodes a message, or returns the reason why it is invalid.
    fileprivate func decode(_ delivery: AMQPDelivery) -> Result<AMQPMessage, AMQPError> {
        do {
            return .success(try delivery.decodeMessage())
        } catch {
            return .failure(error)
        }
    }
}

extension AMQPMessage {
    fileprivate var number: UInt64? {
        if case .ulong(let number)? = self.properties.messageID { number } else { nil }
    }

    /// The bytes of the body's data or text; 0 for other values.
    fileprivate var bodyByteCount: Int {
        if let bytes = self.bodyBytes { return bytes.readableBytes }
        if case .value(.string(let text)) = self.body { return text.utf8.count }
        return 0
    }
}

/// Counts messages and keeps none.
final class CountingSink: Sink {
    var isBlocking: Bool { false }

    func take(_ batch: [AMQPDelivery]) -> [Verdict] {
        batch.map { delivery in
            do throws(AMQPError) {
                let message = try delivery.decodeMessage()
                return .good(id: message.number, bytes: message.bodyByteCount)
            } catch {
                return .mismatch(error)
            }
        }
    }
}

/// Writes bodies, each followed by a line feed.
final class LineSink: Sink {
    private let file: File
    private let name: String
    private let isRegular: Bool

    /// Opens the named target. Empties a regular file and writes it in place, because each message is accepted as soon
    /// as it is written. Suspends while a FIFO has no reader.
    init(_ path: String) async throws {
        self.name = path == "-" ? "stdout" : path
        if path == "-" {
            self.file = try File.standardOutput()
        } else if let existing = try await File.openExisting(path, O_TRUNC) {
            self.file = existing
        } else {
            self.file = try File.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o666)
        }
        self.isRegular = try self.file.status(what: self.name).st_mode & S_IFMT == S_IFREG
    }

    func take(_ batch: [AMQPDelivery]) async throws -> [Verdict] {
        var out = ByteBuffer()
        var verdicts: [Verdict] = []
        for delivery in batch {
            switch self.decode(delivery) {
            case .success(let message):
                Self.append(message, to: &out)
                verdicts.append(.good(id: message.number, bytes: message.bodyByteCount))
            case .failure(let error): verdicts.append(.mismatch(error))
            }
        }
        let (file, name, bytes) = (self.file, self.name, out)
        if self.isRegular {
            try file.write(bytes, what: name)
        } else {
            // The reader of a pipe may block the write forever.
            try await Blocking.run { try file.write(bytes, what: name) }
        }
        return verdicts
    }

    private static func append(_ message: AMQPMessage, to out: inout ByteBuffer) {
        switch message.body {
        case .data(let sections): for section in sections { out.writeImmutableBuffer(section) }
        case .value(.string(let text)): out.writeString(text)
        case .value(.binary(let bytes)): out.writeImmutableBuffer(bytes)
        case .value(let value): out.writeString("\(value)")
        case .sequence(let sections): out.writeString("\(sections)")
        case .empty: break
        }
        out.writeInteger(UInt8(ascii: "\n"))
    }
}

/// Writes messages as files, in the form in which the sender of a directory creates them. A large file is written while
/// it arrives.
final class DirectorySink: Sink {
    private let tree: ReceivedTree
    private let progress: ExampleSupport.Progress
    private let comesAgain: Bool

    /// - Parameter comesAgain: Whether the peer sends a message of a lost link again.
    init(_ path: String, _ progress: ExampleSupport.Progress, comesAgain: Bool) throws {
        self.tree = try ReceivedTree(path)
        self.progress = progress
        self.comesAgain = comesAgain
    }

    var showsProgress: Bool { true }

    func take(_ batch: [AMQPDelivery]) async throws -> [Verdict] {
        var verdicts: [Verdict] = []
        for delivery in batch { verdicts.append(try await self.write(delivery)) }
        try self.tree.commit()
        return verdicts
    }

    private func write(_ delivery: AMQPDelivery) async throws -> Verdict {
        let message: AMQPMessage
        // A message that is still arriving has only the sections before its body.
        switch self.decode(delivery) {
        case .success(let decoded): message = decoded
        case .failure(let error): return .mismatch(error)
        }
        guard let path = message.properties.subject else {
            return .refused(
                AMQPError(scope: .delivery, condition: .invalidField, detail: "a message has no path in its subject")
            )
        }
        let shown = Console.quoted(path)
        guard delivery.isStreamed || message.bodyBytes != nil || message.body == .empty else {
            return .refused(
                AMQPError(scope: .delivery, condition: .invalidField, detail: "\(shown): the body is no data")
            )
        }
        guard let digest = message.applicationProperties[FileMessage.digestKey]?.stringValue else {
            return .mismatch(
                AMQPError(
                    scope: .delivery,
                    condition: .preconditionFailed,
                    detail: "\(shown): the message has no SHA-256"
                )
            )
        }
        do {
            let file = try self.tree.begin(path)
            let own: FileDigest
            do {
                own = try await self.write(delivery, to: file)
            } catch let error as AMQPError where error.condition == .decodeError {
                return .mismatch(error)
            } catch let error as AMQPError where error.condition != .cancelled {
                if self.comesAgain, error.condition != .aborted { return .stale }
                return .aborted("\(shown): \(error.detail)")
            }
            guard digest.lowercased() == own.finish() else {
                let text = "\(shown): the SHA-256 does not fit the bytes"
                return .mismatch(AMQPError(scope: .delivery, condition: .preconditionFailed, detail: text))
            }
            try self.tree.finish(file, permissions: FileMessage.permissions(of: message) ?? 0o644)
            return .good(id: message.number, bytes: own.count)
        } catch let refusal as ReceivedTree.Refusal {
            switch refusal {
            case .path(let text):
                return .refused(AMQPError(scope: .delivery, condition: .notAllowed, detail: "\(shown): \(text)"))
            case .system(let failure): throw failure
            }
        }
    }

    /// Writes the body as it arrives.
    private func write(_ delivery: AMQPDelivery, to file: ReceivedFile) async throws -> FileDigest {
        var digest = FileDigest()
        for try await piece in delivery.body {
            digest.add(piece)
            try file.write(piece)
            self.progress.add(messages: 0, bytes: piece.readableBytes)
        }
        return digest
    }
}
