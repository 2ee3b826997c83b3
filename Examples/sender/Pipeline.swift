// SPDX-License-Identifier: Apache-2.0

import ExampleFiles
import ExampleSupport
import QpidProton

/// Sends without waiting for each outcome: the event loop counts outcomes as they arrive.
///
/// The pipeline keeps no tracker. The library holds one callback for each unsettled message.
struct Pipeline {
    /// The most unsettled messages. The peer's credit and the send limit bound them too.
    private let highestOutstanding: Int

    /// How many messages the pipeline sends before another task of this thread may run.
    private static let batch = 64

    private let sender: any Outlet
    private let tally: Tally
    private let progress: Progress

    /// - Parameter isAhead: Whether the pipeline creates messages even while none fits.
    init(_ sender: any Outlet, isAhead: Bool, _ tally: Tally, _ progress: Progress) {
        self.highestOutstanding = isAhead ? 1 << 20 : 32_768
        self.sender = sender
        self.tally = tally
        self.progress = progress
    }

    /// Sends every message of the source, and waits until all are settled.
    func send(_ source: any MessageSource, _ template: Template) async throws {
        var message = AMQPMessage()
        var note = (bytes: 0, call: self.noting(0))
        var sent = 0
        while true {
            switch try source.next(&message) {
            case .end: return try await self.tally.wait(untilAtMost: 0)
            case .later:
                try self.checkLink()
                // Waiting for input is not a standstill.
                if self.tally.outstanding == 0 { self.tally.moved() }
                try await Task.sleep(for: .milliseconds(10))
            case .streamed(let file):
                try self.checkLink()
                self.tally.sent()
                do {
                    try await self.stream(file, template)
                } catch  where self.concernsOneMessage(error) {
                    self.tally.leftOut()
                    try source.leaveOut(error)
                }
            case .message(let bytes):
                template.apply(to: &message)
                // Most messages are as long as the previous one, so they share one closure.
                if bytes != note.bytes { note = (bytes, self.noting(bytes)) }
                do {
                    try await self.enqueue(message, note.call)
                } catch  where self.concernsOneMessage(error) {
                    try source.leaveOut(error)
                    continue
                }
                sent += 1
                guard sent % Self.batch == 0 else { continue }
                try Task.checkCancellation()
                try self.checkLink()
                if self.tally.outstanding >= self.highestOutstanding {
                    try await self.tally.wait(untilAtMost: self.highestOutstanding / 8 * 7)
                }
                // The connection may run on the same thread.
                await Task.yield()
            }
        }
    }

    private func checkLink() throws {
        if let error = self.sender.error { throw error }
        try self.tally.checkFailure()
    }

    /// Streams a file, and waits for its outcome.
    private func stream(_ file: LargeFile, _ template: Template) async throws {
        let (tally, progress) = (self.tally, self.progress)
        let digest = try await file.digest { tally.moved() }
        var message = file.message(digest)
        template.apply(to: &message)
        // One data section holds 4 GiB at most.
        let length = digest.count <= UInt32.max ? AMQPByteCount(digest.count) : nil
        let outcome = try await self.sender.stream(message, length: length) {
            file.body(digest) { count in
                tally.moved()
                progress.add(messages: 0, bytes: count)
            }
        }
        tally.ended(.success(outcome), bytes: digest.count)
        progress.add(outcome, bytes: 0)
    }

    /// Returns whether later messages can still be sent after an error.
    private func concernsOneMessage(_ error: any Error) -> Bool {
        switch error {
        case is SystemFailure, is FileChanged: true
        case let error as AMQPError: error.condition == .linkMessageSizeExceeded && self.sender.error == nil
        default: false
        }
    }

    private func enqueue(
        _ message: AMQPMessage,
        _ note: @escaping @Sendable (Result<AMQPOutcome, AMQPError>) -> Void
    ) async throws {
        do {
            let accepted = try await self.sender.accept(message)
            self.tally.sent()
            accepted.whenSettled(note)
        } catch let error where error.condition == .wouldBlock {
            self.tally.sent()
            self.tally.wasRefused(error)
        }
    }

    /// Returns a closure that counts the fate of one message of the given size in bytes.
    private func noting(_ bytes: Int) -> @Sendable (Result<AMQPOutcome, AMQPError>) -> Void {
        let (tally, progress) = (self.tally, self.progress)
        return { result in
            tally.ended(result, bytes: bytes)
            if case .success(let outcome) = result { progress.add(outcome, bytes: bytes) }
        }
    }
}
