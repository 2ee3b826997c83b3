// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import NIOCore
import NIOPosix
import QpidProton

/// Writes one message of any size to stdout or to a file. A complete file is renamed to its final name.
struct StreamTarget: Sendable {
    private let file: OutputFile

    /// Opens the named target. Suspends while a FIFO has no reader.
    init(_ path: String) async throws { self.file = try await OutputFile(path) }

    /// Receives one message, writes it piece by piece, and accepts it when it is complete.
    func take(
        from receiver: any Inlet,
        within limit: Duration?,
        _ tally: Tally,
        _ progress: ExampleSupport.Progress
    ) async throws {
        let next = if let limit { try await receiver.receive(within: limit) } else { try await receiver.next() }
        guard let delivery = next else {
            let cause = limit.map { "none arrived for \($0.inSeconds) s" } ?? "the link ended"
            throw Failure("no message arrived: \(receiver.error == nil ? cause : "the peer closed the link")")
        }
        tally.begin()
        var bytes = 0
        let file = self.file
        for try await piece in delivery.body {
            try await file.write(piece)
            bytes += piece.readableBytes
            progress.add(messages: 0, bytes: piece.readableBytes)
        }
        try await NIOThreadPool.singleton.runIfActive { try file.commit() }
        delivery.accept()
        _ = tally.add([.good(id: nil, bytes: bytes)])
        progress.add(messages: 1, bytes: 0)
    }
}
