import ExampleSupport
import Foundation
import NIOCore
import NIOPosix
import QpidProton

/// Where one message of any size goes: a file, which gets its name when all has come, or stdout.
final class StreamTarget: Sendable {
    private let path: String?
    private let name: String
    private let file: File

    init(_ path: String) throws {
        self.path = path == "-" ? nil : path
        self.name = path == "-" ? "stdout" : path
        self.file =
            path == "-"
            ? File(descriptor: STDOUT_FILENO, isOwned: false)
            : try File.open(Self.partial(path), O_WRONLY | O_CREAT | O_TRUNC, mode: 0o666)
    }

    private static func partial(_ path: String) -> String { path + ".partial" }

    /// Takes one message, writes it piece by piece, and accepts it when it is in place.
    func take(
        from receiver: AMQPReceiver,
        within limit: Duration?,
        _ tally: Tally,
        _ progress: ExampleSupport.Progress
    ) async throws {
        do {
            try await self.write(receiver, limit, tally, progress)
        } catch {
            if let path = self.path { unlink(Self.partial(path)) }
            throw error
        }
    }

    private func write(
        _ receiver: AMQPReceiver,
        _ limit: Duration?,
        _ tally: Tally,
        _ progress: ExampleSupport.Progress
    ) async throws {
        let next = if let limit { try await receiver.receive(timeout: limit) } else { try await receiver.next() }
        guard let delivery = next else { throw Failure("no message came") }
        tally.begin()
        var bytes = 0
        for try await piece in delivery.body {
            // A file may block, and so may the reader of a pipe.
            try await NIOThreadPool.singleton.runIfActive { try self.file.write(piece, what: self.name) }
            bytes += piece.readableBytes
            progress.add(messages: 0, bytes: piece.readableBytes)
        }
        if let path = self.path, rename(Self.partial(path), path) != 0 { throw SystemFailure("rename to \(path)") }
        delivery.accept()
        _ = tally.add([.good(id: nil, bytes: bytes)])
        progress.add(messages: 1, bytes: 0)
    }
}
