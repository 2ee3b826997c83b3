import DequeModule
import ExampleSupport
import QpidProton

/// Sends without waiting for each outcome, and holds a bounded number of transfers.
struct Pipeline {
    /// The most transfers that are held. The peer's credit and the send limit bound them too.
    private let highestOutstanding: Int

    /// How many messages are sent before the outcomes are looked at.
    private static let batch = 64

    private let sender: AMQPSender
    private let tally: Tally
    private let progress: Progress

    /// - Parameter isAhead: Whether messages are made also while there is no room for them.
    init(_ sender: AMQPSender, isAhead: Bool, _ tally: Tally, _ progress: Progress) {
        self.highestOutstanding = isAhead ? 1 << 20 : 32_768
        self.sender = sender
        self.tally = tally
        self.progress = progress
    }

    /// Sends everything that the source has, and waits until all is settled.
    func send(_ source: any MessageSource, _ template: Template) async throws {
        var outstanding: Deque<(transfer: AMQPTransfer, bytes: Int)> = []
        var sent = Counts()
        var message = AMQPMessage()
        while true {
            switch try source.next(&message) {
            case .end: return try await self.settleAll(&outstanding, &sent)
            case .later:
                try self.collect(&outstanding, &sent)
                try await Task.sleep(for: .milliseconds(10))
            case .streamed(let file):
                try self.collect(&outstanding, &sent)
                do {
                    try await self.stream(file, template)
                } catch  where self.concernsOneMessage(error) {
                    try source.leaveOut(error)
                }
            case .message(let bytes):
                template.apply(to: &message)
                do {
                    if let transfer = try await self.enqueue(message) { outstanding.append((transfer, bytes)) }
                } catch  where self.concernsOneMessage(error) {
                    try source.leaveOut(error)
                    continue
                }
                sent.add(bytes)
                if outstanding.count >= self.highestOutstanding { try await self.shorten(&outstanding) }
                guard sent.messages == Self.batch else { continue }
                try Task.checkCancellation()
                try self.collect(&outstanding, &sent)
                // The connection may run on the same thread.
                await Task.yield()
            }
        }
    }

    /// Sends a file that is not held whole, and waits for its outcome.
    private func stream(_ file: LargeFile, _ template: Template) async throws {
        let (tally, progress) = (self.tally, self.progress)
        let digest = try await file.digest { tally.read(0) }
        var message = file.message(digest)
        template.apply(to: &message)
        let body = file.body(digest) { count in
            tally.read(0)
            progress.add(messages: 0, bytes: count)
        }
        // One data section holds 4 GiB at most.
        let length = digest.count <= UInt32.max ? ByteCount(digest.count) : nil
        let outcome = try await self.sender.stream(message, length: length, body: body)
        tally.sent(1, digest.count)
        tally.settled(outcome)
        progress.add(messages: 1, bytes: 0)
    }

    /// Whether an error is no reason to give up the messages that follow.
    private func concernsOneMessage(_ error: any Error) -> Bool {
        switch error {
        case is SystemFailure, is LargeFile.Changed: true
        case let error as AMQPError: error.condition == .linkMessageSizeExceeded && self.sender.error == nil
        default: false
        }
    }

    /// Returns nil when the message is done with, for there was no room.
    private func enqueue(_ message: AMQPMessage) async throws -> AMQPTransfer? {
        do {
            let transfer = try await self.sender.enqueue(message)
            guard case .failure(let error)? = transfer.result, error.condition == .dropped else { return transfer }
            self.tally.wasDropped()
        } catch let error where error.condition == .wouldBlock {
            self.tally.wasRefused(error)
        }
        return nil
    }

    /// Takes out what is done, wherever it is; waits for the first where that is little.
    private func shorten(_ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>) async throws {
        var rest: Deque<(transfer: AMQPTransfer, bytes: Int)> = []
        for next in outstanding {
            if let result = next.transfer.result { try self.count(result, next.bytes) } else { rest.append(next) }
        }
        outstanding = rest
        while outstanding.count > self.highestOutstanding / 8 * 7 { try await self.settleFirst(&outstanding) }
    }

    /// Counts what became of a message; throws where that is a failure of the link.
    private func count(_ result: Result<AMQPOutcome, AMQPError>, _ bytes: Int) throws {
        switch result {
        case .success(let outcome):
            self.tally.settled(outcome)
            self.progress.add(messages: 1, bytes: bytes)
        case .failure(let error) where error.condition == .dropped: self.tally.wasDropped()
        case .failure(let error): throw error
        }
    }

    private func settleAll(
        _ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>,
        _ sent: inout Counts
    ) async throws {
        try self.collect(&outstanding, &sent)
        while !outstanding.isEmpty {
            try await self.settleFirst(&outstanding)
            try self.collect(&outstanding, &sent)
        }
    }

    private func settleFirst(_ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>) async throws {
        guard let first = outstanding.popFirst() else { return }
        do {
            try self.count(.success(try await first.transfer.outcome()), first.bytes)
        } catch let error as AMQPError {
            try self.count(.failure(error), first.bytes)
        }
    }

    /// Counts what was sent since the last time, and what is settled, from the oldest on.
    private func collect(
        _ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>,
        _ sent: inout Counts
    ) throws {
        self.tally.sent(sent.messages, sent.bytes)
        sent = Counts()
        while let first = outstanding.first, let result = first.transfer.result {
            outstanding.removeFirst()
            try self.count(result, first.bytes)
        }
    }

    private struct Counts {
        var messages = 0
        var bytes = 0

        mutating func add(_ bytes: Int) {
            self.messages += 1
            self.bytes += bytes
        }
    }
}
