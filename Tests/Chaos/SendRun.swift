// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers
import QpidProton

/// One run of ``Send``.
final class SendRun: Sendable {
    /// The control of the senders' tasks.
    private struct Control {
        var stops = false
        var isPaused = false
    }

    /// The figures of summary.json.
    struct Summary: Codable {
        var seconds = 0.0
        var handedOver = 0
        var fates: [String: Int] = [:]
        /// The messages that had no fate in time.
        var open = 0
        /// The number of checks at which the fates did not add up, and the number of all checks.
        var wrongSums = 0
        var sums = 0
        var losses = 0
        var linkLosses = 0
        var replayed = 0
        var failedAttempts = 0
        var residentAtStart = 0
        var residentPeak = 0
        var ledgerPeak = 0
        var ledgerAtEnd = 0
        var measured: [String: ProcessFigures] = [:]
        var errors: [String] = []
    }

    private let options: Send
    private let log: FateLog
    private let events: LineFile
    private let samples: LineFile
    private let control = NIOLockedValueBox(Control())
    private let summary = NIOLockedValueBox(Summary())
    /// All senders of the client, including ended ones.
    private let opened = NIOLockedValueBox<[AMQPClient.Sender]>([])
    private var senders: [AMQPClient.Sender] { self.opened.withLockedValue { $0 } }

    init(_ options: Send) throws {
        self.options = options
        try FileManager.default.createDirectory(atPath: options.folder, withIntermediateDirectories: true)
        self.log = try FateLog(options.folder + "/fates.tsv")
        self.events = try LineFile(options.folder + "/events.tsv", "# ns\tevent\tdetails")
        self.samples = try LineFile(
            options.folder + "/samples.tsv",
            "# ns\tresident\tledger\thanded\tfinished\taccepted\tlosses"
        )
    }

    func run() async throws {
        let client = AMQPClient(urls: self.options.url, configuration: self.options.configuration)
        let events = client.events
        let listening = Task { for await event in events { self.note(event) } }
        for _ in 0..<self.options.senders { _ = try await self.open(client) }
        let start = Clock.now
        self.summary.withLockedValue { $0.residentAtStart = ProcessFigures.measured().resident }
        Commands.answer("started")
        let sampling = Task { await self.sample() }
        let commanding = Task { await self.obey(client) }
        await withTaskGroup(of: Void.self) { group in
            for (index, sender) in self.senders.enumerated() {
                group.addTask { await self.send(index, on: sender, of: client) }
            }
        }
        let end = ContinuousClock.now + .seconds(self.options.finishWithin)
        while !self.isDone, ContinuousClock.now < end, client.isAlive {
            try? await Task.sleep(for: .milliseconds(20))
        }
        sampling.cancel()
        await sampling.value
        await self.finish(client, start)
        listening.cancel()
        commanding.cancel()
        try self.report()
        // The thread that reads standard input may still be running.
        Foundation.exit(0)
    }

    private var isDone: Bool { self.senders.allSatisfy { $0.fates.queued + $0.fates.inFlight == 0 } }

    private func open(_ client: AMQPClient) async throws(AMQPError) -> AMQPClient.Sender {
        let sender = try await client.sender(self.options.senderConfiguration)
        self.opened.withLockedValue { $0.append(sender) }
        return sender
    }

    // MARK: Sending

    private func send(_ index: Int, on first: AMQPClient.Sender, of client: AMQPClient) async {
        var sender = first
        var pace = Pace(self.options.rate.map { $0 / Double(self.options.senders) })
        let (count, padding) = (self.options.count(of: index) ?? .max, self.options.padding)
        var number = 0
        while number < count {
            let control = self.control.withLockedValue { $0 }
            if control.stops { return }
            if control.isPaused {
                try? await Task.sleep(for: .milliseconds(5))
                continue
            }
            await pace.wait()
            if await self.hand(over: Send.message(index, number, padding), index, number, to: sender) {
                number += 1
            } else if client.isAlive {
                sender = await self.replace(sender, of: client)
            } else {
                self.control.withLockedValue { $0.stops = true }
            }
        }
    }

    /// Enqueues a message. Returns `false` if the sender refuses the message, which is then not sent.
    private func hand(
        over message: AMQPMessage,
        _ index: Int,
        _ number: Int,
        to sender: AMQPClient.Sender
    ) async -> Bool {
        let handed = Clock.now
        do throws(AMQPError) {
            let tracker = try await sender.enqueue(message)
            tracker.whenSettled { result in
                self.log.add(index, number, FateLog.name(result), attempts: tracker.attempts, handed: handed)
                if case .failure(let error) = result { self.note(error) }
            }
            return true
        } catch {
            self.note(error)
            return false
        }
    }

    /// Opens another sender in place of an ended one, like an application whose queue is declared again.
    private func replace(_ sender: AMQPClient.Sender, of client: AMQPClient) async -> AMQPClient.Sender {
        if sender.error != nil {
            do throws(AMQPError) { return try await self.open(client) } catch { self.note(error) }
        }
        try? await Task.sleep(for: .milliseconds(100))
        return sender
    }

    private func note(_ error: AMQPError) {
        self.summary.withLockedValue { if $0.errors.count < 20 { $0.errors.append("\(error)") } }
    }

    // MARK: Commands

    private func obey(_ client: AMQPClient) async {
        for await command in Commands.lines() {
            let words = command.split(separator: " ").map(String.init)
            switch words.first {
            case "measure" where words.count == 2:
                self.control.withLockedValue { $0.isPaused = true }
                while !self.isDone || !client.health.isReady {
                    try? await Task.sleep(for: .milliseconds(10))
                }
                // The sockets of lost connections close within this time.
                try? await Task.sleep(for: .milliseconds(500))
                self.summary.withLockedValue { $0.measured[words[1]] = .measured() }
                self.control.withLockedValue { $0.isPaused = false }
            default: self.control.withLockedValue { $0.stops = true }
            }
            Commands.answer(command)
        }
        self.control.withLockedValue { $0.stops = true }
    }

    // MARK: Sampling

    private func sample() async {
        var round = 0
        while !Task.isCancelled {
            let senders = self.senders
            let fates = senders.map(\.fates)
            let ledger = senders.reduce(0) { $0 + $1.unsettledBytes.bytes }
            let resident = ProcessFigures.resident
            self.summary.withLockedValue { summary in
                summary.sums += fates.count
                summary.wrongSums += fates.count { !$0.addsUp }
                summary.residentPeak = max(summary.residentPeak, resident)
                summary.ledgerPeak = max(summary.ledgerPeak, ledger)
            }
            if round % 10 == 0 {
                let losses = self.summary.withLockedValue { $0.losses }
                func sum(_ part: (AMQPClient.Fates) -> Int) -> Int { fates.reduce(0) { $0 + part($1) } }
                let figures = [resident, ledger, sum(\.handedOver), sum(\.finished), sum(\.accepted), losses]
                self.samples.add("\(Clock.now)\t" + figures.map(String.init).joined(separator: "\t"))
                let text = "\(figures[2]) handed over, \(figures[3]) with a fate, \(losses) losses"
                Commands.answer("progress \(figures[2]) \(losses) \(text), \(resident >> 20) MiB")
            }
            round += 1
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    private func note(_ event: AMQPClient.Event) {
        let line: String? = self.summary.withLockedValue { summary in
            switch event {
            case .attempt: return nil
            case .attemptFailed(let number, let url, let error):
                summary.failedAttempts += 1
                return "attempt-failed\t\(number) \(url) \(error.condition.rawValue)"
            case .onConnectFailed(let generation, _, let error): return "on-connect-failed\t\(generation) \(error)"
            case .open(let generation, let url): return "open\t\(generation) \(url)"
            case .lost(let error, let inDoubt, _):
                summary.losses += 1
                return "lost\t\(inDoubt) in doubt: \(error.condition.rawValue): \(error.detail)"
            case .linkLost(let name, _, let error, let inDoubt):
                summary.linkLosses += 1
                return "link-lost\t\(name), \(inDoubt) in doubt: \(error)"
            case .linkFailed(let name, _, let error): return "link-failed\t\(name): \(error)"
            case .addressChanged(let name, _, _): return "address-changed\t\(name)"
            case .recovered(let generation, let replayed, let time):
                summary.replayed += replayed
                return "recovered\t\(generation) \(replayed) replayed after \(time)"
            case .closed(let error): return "closed\t\(error.map { "\($0)" } ?? "")"
            }
        }
        if let line { self.events.add("\(Clock.now)\t" + line.replacingOccurrences(of: "\n", with: " ")) }
    }

    // MARK: The end

    private func finish(_ client: AMQPClient, _ start: UInt64) async {
        let senders = self.senders
        let fates = senders.map(\.fates)
        let open = fates.reduce(0) { $0 + $1.queued + $1.inFlight }
        let seconds = Double(Clock.now - start) / 1e9
        for sender in senders { await sender.close(within: .seconds(5)) }
        let last = senders.map(\.fates)
        self.summary.withLockedValue { summary in
            summary.seconds = seconds
            summary.open = open
            summary.sums += last.count
            summary.wrongSums += last.count { !$0.addsUp }
            for fates in last {
                summary.handedOver += fates.handedOver
                for (name, count) in fates.byName { summary.fates[name, default: 0] += count }
            }
            summary.ledgerAtEnd = senders.reduce(0) { $0 + $1.unsettledBytes.bytes }
        }
        await client.close(within: .seconds(5))
    }

    private func report() throws {
        self.log.flush()
        self.events.flush()
        self.samples.flush()
        let summary = self.summary.withLockedValue { $0 }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(summary).write(to: URL(fileURLWithPath: self.options.folder + "/summary.json"))
        Commands.answer("finished")
    }
}

extension AMQPClient {
    fileprivate var isAlive: Bool {
        if case .closed = self.state { false } else { true }
    }
}

extension AMQPClient.Fates {
    /// Whether each message is counted once. This check repeats the sum that the library guarantees.
    fileprivate var addsUp: Bool {
        self.handedOver == self.byName.reduce(0) { $0 + $1.value } + self.queued + self.inFlight
    }

    fileprivate var byName: KeyValuePairs<String, Int> {
        [
            "accepted": self.accepted, "rejected": self.rejected, "released": self.released,
            "modified": self.modified, "settled": self.settled, "in-doubt": self.inDoubt, "not-sent": self.notSent,
            "aborted": self.aborted, "dropped": self.dropped, "expired": self.expired,
        ]
    }
}
