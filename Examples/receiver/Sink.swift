import ExampleSupport
import Foundation
import NIOCore
import QpidProton

/// Where messages go. What it has taken stays there, whatever becomes of this process.
protocol Sink: AnyObject {
    /// Writes messages; returns one verdict a message. Throws where this side fails: none of them is then settled.
    func take(_ batch: [AMQPDelivery]) throws -> [Verdict]
    /// Whether taking messages may wait for a file.
    var isBlocking: Bool { get }
}

extension Sink {
    var isBlocking: Bool { true }

    /// Decodes a message, or says what is wrong with it.
    fileprivate func decode(_ delivery: AMQPDelivery) -> Result<AMQPMessage, AMQPError> {
        do {
            return .success(try delivery.message)
        } catch {
            return .failure(error)
        }
    }
}

extension AMQPMessage {
    fileprivate var number: UInt64? {
        if case .ulong(let number)? = self.properties.messageID { number } else { nil }
    }

    /// The bytes of the body: of its data or its text; 0 for other values.
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
                let message = try delivery.message
                return .good(id: message.number, bytes: message.bodyByteCount)
            } catch {
                return .mismatch(error)
            }
        }
    }
}

/// Writes bodies, each with a line feed behind it.
final class LineSink: Sink {
    private let file: File
    private let name: String

    init(_ path: String) throws {
        self.name = path == "-" ? "stdout" : path
        self.file =
            path == "-"
            ? File(descriptor: STDOUT_FILENO, isOwned: false)
            : try File.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o666)
    }

    func take(_ batch: [AMQPDelivery]) throws -> [Verdict] {
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
        try self.file.write(out, what: self.name)
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

/// Writes messages as files, as the sender of a directory made them.
final class DirectorySink: Sink {
    private let tree: ReceivedTree

    init(_ path: String) throws {
        self.tree = try ReceivedTree(path)
    }

    func take(_ batch: [AMQPDelivery]) throws -> [Verdict] {
        let verdicts = try batch.map { try self.write($0) }
        try self.tree.commit()
        return verdicts
    }

    private func write(_ delivery: AMQPDelivery) throws -> Verdict {
        let message: AMQPMessage
        switch self.decode(delivery) {
        case .success(let decoded): message = decoded
        case .failure(let error): return .mismatch(error)
        }
        guard let path = message.properties.subject else {
            return .refused(AMQPError(.delivery, .invalidField, "a message has no path in its subject"))
        }
        let shown = Console.oneLine(path.debugDescription)
        guard let content = message.bodyBytes ?? Self.noBytes(message) else {
            return .refused(AMQPError(.delivery, .invalidField, "\(shown): the body is no data"))
        }
        guard let digest = message.applicationProperties[FileMessage.digestKey]?.stringValue else {
            return .mismatch(AMQPError(.delivery, .preconditionFailed, "\(shown): the message has no SHA-256"))
        }
        guard digest.lowercased() == FileMessage.digest(of: content) else {
            return .mismatch(AMQPError(.delivery, .preconditionFailed, "\(shown): the SHA-256 does not fit the bytes"))
        }
        do {
            try self.tree.write(content, to: path, permissions: FileMessage.permissions(of: message) ?? 0o644)
        } catch {
            switch error {
            case .path(let text): return .refused(AMQPError(.delivery, .notAllowed, "\(shown): \(text)"))
            case .system(let failure): throw failure
            }
        }
        return .good(id: message.number, bytes: content.readableBytes)
    }

    /// An empty file may have come without a data section.
    private static func noBytes(_ message: AMQPMessage) -> ByteBuffer? {
        if case .empty = message.body { ByteBuffer() } else { nil }
    }
}
