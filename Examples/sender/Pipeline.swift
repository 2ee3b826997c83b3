import DequeModule
import ExampleSupport
import QpidProton

/// Sends without waiting for each outcome, and holds a bounded number of transfers.
struct Pipeline {
    /// The most transfers that are held. The peer's credit and the send limit bound them too.
    private static let highestOutstanding = 32_768

    /// How many messages are sent before the outcomes are looked at.
    private static let batch = 64

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
        var sent = Counts()
        var message = AMQPMessage()
        while true {
            switch try source.next(&message) {
            case .end: return try await self.settleAll(&outstanding, &sent)
            case .later:
                try self.collect(&outstanding, &sent)
                try await Task.sleep(for: .milliseconds(10))
            case .message(let bytes):
                template.apply(to: &message)
                outstanding.append((try await self.sender.enqueue(message), bytes))
                sent.add(bytes)
                if outstanding.count >= Self.highestOutstanding { try await self.settleFirst(&outstanding) }
                guard sent.messages == Self.batch else { continue }
                try Task.checkCancellation()
                try self.collect(&outstanding, &sent)
                // The connection may run on the same thread.
                await Task.yield()
            }
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
        self.tally.settled(try await first.transfer.outcome())
        self.progress.add(messages: 1, bytes: first.bytes)
    }

    /// Counts what was sent since the last time, and what is settled, from the oldest on.
    private func collect(
        _ outstanding: inout Deque<(transfer: AMQPTransfer, bytes: Int)>,
        _ sent: inout Counts
    ) throws {
        self.tally.sent(sent.messages, sent.bytes)
        sent = Counts()
        var settled = Counts()
        defer { self.progress.add(messages: settled.messages, bytes: settled.bytes) }
        while let result = outstanding.first?.transfer.result {
            self.tally.settled(try result.get())
            settled.add(outstanding.removeFirst().bytes)
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
