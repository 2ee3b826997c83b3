// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOCore
import QpidProton

/// The receiving process of ``SlowConsumer``, whose memory is measured.
struct Consume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consume",
        abstract: "The process that slow-consumer starts.",
        shouldDisplay: false
    )
    static let window = 80 << 20
    static let streamBuffer = 8 << 20
    /// The allowed growth of memory beyond the limit.
    private static let allowance = 24 << 20
    private static let sessionCapacity = 1 << 20

    enum Mode: String, ExpressibleByArgument { case whole, streamed }

    @Option var mode: Mode

    func run() async throws {
        Watchdog.endWithParent()
        let listener = try await AMQPListener.bind(port: 0)
        Output.line("port \(listener.port)")
        guard let connection = try await listener.makeAsyncIterator().next(isolation: nil) else { return }
        for try await wish in connection.incoming {
            switch wish {
            case .session(let session):
                try await session.accept(.init(incomingCapacity: AMQPByteCount(Self.sessionCapacity)))
            case .receiver(let link): return try await self.consume(try await link.accept(self.configuration))
            case .sender(let link):
                link.refuse(AMQPError(scope: .link, condition: .notAllowed, detail: "nothing is sent from here"))
            }
        }
    }

    private var configuration: AMQPReceiver.Configuration {
        // Small messages arrive whole even if others are streamed, and count against the window.
        var configuration = AMQPReceiver.Configuration(window: .bytes(AMQPByteCount(self.limit)))
        // A body of 64 MiB needs a few more bytes for its sections.
        configuration.maxMessageSize = .mebibytes(65)
        configuration.streamsMessages = self.mode == .streamed
        configuration.streamBuffer = AMQPByteCount(Self.streamBuffer)
        return configuration
    }

    private var limit: Int { self.mode == .whole ? Self.window : Self.streamBuffer }

    private func consume(_ receiver: AMQPReceiver) async throws {
        var report = Report("slow-consumer")
        let before = Memory.resetPeak()
        var pace = Pace()
        var messages = 0
        var buffered = 0
        while let delivery = try await receiver.next() {
            pace.progress()
            messages += 1
            buffered = max(buffered, receiver.bufferedBytes.bytes)
            switch self.mode {
            case .whole: try await pace.take(delivery.payload.readableBytes)
            case .streamed:
                for try await piece in delivery.body {
                    buffered = max(buffered, receiver.bufferedBytes.bytes)
                    try await pace.take(piece.readableBytes)
                }
            }
            try await pace.endMessage()
            delivery.accept()
        }
        let name = self.mode.rawValue
        report.note("\(name)-messages", Double(messages))
        report.note("\(name)-bytes", Double(pace.bytes) / 1e6, "MB")
        report.note("\(name)-rate", pace.rate / 1e6, "MB/s")
        // The receiver's own peak is the sum of two peaks, which may have occurred at different times.
        report.note("\(name)-buffered-seen", Double(mebibytes: buffered), "MiB")
        report.atMost(
            "\(name)-buffered-peak",
            Double(mebibytes: try await receiver.snapshot().bytes.peak.bytes),
            Double(mebibytes: self.limit),
            "MiB"
        )
        let growth = Double(mebibytes: max(0, Memory.peak - before))
        report.atMost("\(name)-resident-growth", growth, Double(mebibytes: self.limit + Self.allowance), "MiB")
        report.atMost("\(name)-longest-gap", pace.longestGap / .seconds(1), 1, "s")
        try report.end()
    }
}

/// Delays the consumer in proportion to the received bytes, and measures the longest gap without progress.
private struct Pace {
    private static let bytesPerSecond = 100e6
    /// The bytes per sleep, so that a sleep lasts a few milliseconds: shorter sleeps are inexact.
    private static let stretch = 1_000_000

    private let clock = ContinuousClock()
    private let start = ContinuousClock.now
    private var last = ContinuousClock.now
    private var messageStart = ContinuousClock.now
    private var owed = 0
    private(set) var bytes = 0
    private(set) var longestGap = Duration.zero

    var rate: Double { Double(self.bytes) / ((self.last - self.start) / .seconds(1)) }

    mutating func progress() {
        let now = self.clock.now
        // The wait for the first message does not count: it is the start of the sender.
        if self.bytes > 0 { self.longestGap = max(self.longestGap, now - self.last) }
        self.last = now
    }

    mutating func take(_ bytes: Int) async throws {
        if self.owed == 0, self.bytes == 0 { self.messageStart = self.clock.now }
        self.bytes += bytes
        self.owed += bytes
        self.progress()
        guard self.owed >= Self.stretch else { return }
        try await self.clock.sleep(for: .seconds(Double(self.owed) / Self.bytesPerSecond))
        self.owed = 0
        self.progress()
    }

    mutating func endMessage() async throws {
        let end = self.messageStart + .milliseconds(20)
        if self.clock.now < end { try await self.clock.sleep(until: end) }
        self.messageStart = self.clock.now
        self.progress()
    }
}
