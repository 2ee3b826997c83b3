import DequeModule
import ExampleSupport
import QpidProton

/// Sends without waiting for each outcome, and holds a bounded number of transfers.
struct Pipeline {
    /// The most transfers that are held. The peer's credit and the send limit bound them too.
    private static let highestOutstanding = 32_768

    private let sender: AMQPSender
    private let tally: Tally
    private let progress: Progress

    init(_ sender: AMQPSender, _ tally: Tally, _ progress: Progress) {
        self.sender = sender
        self.tally = tally
        self.progress = progress
    }

    /// Sends everything that the source has, and waits until all is settled.
    func send(_ source: any MessageSource, _ template: Template) async throws {
        var outstanding: Deque<(transfer: AMQPTransfer, bytes: Int)> = []
        while let (message, bytes) = try await source.next(whileIdle: { try self.collect(&outstanding) }) {
            try Task.checkCancellation()
            var message = message
            template.apply(to: &message)
            let transfer = try await self.sender.enqueue(message)
            self.tally.sent(bytes)
            outstanding.append((transfer, bytes))
            if outstanding.count >= Self.highestOutstanding { try await self.settleFirst(&outstanding) }
            try self.collect(&outstanding)
        }
        while !outstanding.isEmpty { try await self.settleFirst(&outstanding) }
    }

    private func settleFirst(_ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>) async throws {
        guard let first = outstanding.popFirst() else { return }
        self.count(try await first.transfer.outcome(), first.bytes)
        try self.collect(&outstanding)
    }

    /// Counts those that are settled, from the oldest on.
    private func collect(_ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>) throws {
        while let first = outstanding.first, let result = first.transfer.result {
            self.count(try result.get(), first.bytes)
            outstanding.removeFirst()
        }
    }

    private func count(_ outcome: AMQPOutcome, _ bytes: Int) {
        self.tally.settled(outcome)
        self.progress.add(messages: 1, bytes: bytes)
    }
}
