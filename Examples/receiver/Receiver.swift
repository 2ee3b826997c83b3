// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleSupport
import QpidProton

@main
enum Main {
    static func main() { Program.main(Receiver.self) }
}

/// Receives messages, writes them, and settles each after writing it.
struct Receiver: ExampleCommand {
    static let configuration = CommandConfiguration(
        commandName: "receiver",
        abstract: "Receive messages from an AMQP 1.0 address, or from a sender directly.",
        discussion: """
            Examples:
              receiver amqp://localhost/greetings --count 1 --output -
              receiver localhost --address orders --idle-timeout 5 --output orders.txt --json
              receiver amqps://broker.example/backup --user ann --password-file secret.txt --directory photos
              receiver --listen 127.0.0.1:5673/inbox --directory photos
              receiver localhost/load --count 1000000 --verify-sequence --progress
              receiver localhost/backup --stream - | tar x
              receiver localhost/orders --window auto --budget 1M --output orders.txt
              receiver localhost/load --window 10 --handler-delay 50 --rate 100 --progress
              receiver amqps://a.example/orders amqps://b.example --reconnect --output orders.txt

            RabbitMQ 4 addresses begin with a slash, and the address is the URL's path without its first slash:
              receiver amqp://guest:guest@localhost//queues/orders --count 1 --output -
              receiver localhost --user guest --password-file secret.txt --address /queues/orders --idle-timeout 5

            At a terminal, one line shows the received messages and the total, the time left, the rate and the buffered bytes.
            It also shows the peer's credit, the unsettled messages, and what keeps the peer from sending. Without --json, a
            summary on stderr ends every run. With --json, blocked_seconds holds the seconds of waiting by cause, and not_settled
            counts the messages whose acceptance could not be sent, because the link had ended.

            The receiver ends after --count messages, or when no message arrives for --idle-timeout. With --stream it ends
            after one message, with --listen when the sender closes its link. Without any of these, it runs until Ctrl-C.

            With --reconnect, the receiver survives lost connections: stderr shows each loss, each failed attempt and each
            recovery. A message whose acceptance did not reach the peer arrives again and is written again. Therefore
            --verify-sequence then accepts duplicates and another order. The receiver may request more than --count
            messages; it releases the rest.

            Exit codes:
              0    all requested messages were accepted; also after Ctrl-C, without any of these options
              1    an error, messages that were rejected, incomplete or not settled, or fewer than --count; without --listen
                   also a link that the peer closed before the receiver's end; stderr names the cause
              64   unusable options
              130  ended by Ctrl-C before that, or before a link was open (143 by SIGTERM); a second signal ends it at once
            """
    )

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var flow: FlowOptions
    @OptionGroup var reconnect: ReconnectOptions

    @Option(
        help: ArgumentHelp(
            """
            End after this many messages. With --window on-demand or a number and without a rate, the receiver requests no \
            more; otherwise it releases the rest.
            """,
            valueName: "number"
        )
    )
    var count: Int?

    @Option(
        help: ArgumentHelp(
            "End after this long without a message: a failure if fewer than --count arrived.",
            valueName: "seconds"
        )
    )
    var idleTimeout: Double?

    @Option(
        name: .customLong("output"),
        help: ArgumentHelp(
            "Write each body and a line feed to a file, a FIFO or a device as it arrives; - writes to stdout.",
            valueName: "path"
        )
    )
    var outputPath: String?

    @Option(
        help: ArgumentHelp(
            """
            Write each message as a file of any size below a directory, as 'sender --directory' sent it, and check its SHA-256. \
            Nothing is written outside the directory or through a symbolic link.
            """,
            valueName: "path"
        )
    )
    var directory: String?

    @Option(
        help: ArgumentHelp(
            """
            Write one message of any size. A file is replaced when the message is complete, and keeps its mode and owner. \
            A FIFO or a device is written as the message arrives; - writes to stdout.
            """,
            valueName: "path"
        )
    )
    var stream: String?

    @Option(
        help: ArgumentHelp(
            """
            The window of unsettled messages on their way: a number of messages, bytes as in 64K or 1M, auto for a window \
            that tunes itself, on-demand for one message at a time, or unbounded (default: 256, with --directory 16).
            """,
            valueName: "window"
        )
    )
    var window: WindowOption?

    @Option(help: ArgumentHelp("The same as --window with a number of messages.", valueName: "number"))
    var credit: Int?

    @Option(
        help: ArgumentHelp(
            "The bytes that --window auto keeps to, which it implies; K, M, G are understood (default: 16M).",
            valueName: "bytes"
        )
    )
    var budget: ByteSize?

    @Option(
        help: ArgumentHelp(
            "Wait this long before each message is accepted, one after the other, as a slow consumer would.",
            valueName: "milliseconds"
        )
    )
    var handlerDelay: Double?

    @Option(
        name: [.customLong("capacity"), .customLong("incoming-capacity")],
        help: ArgumentHelp(
            "The bytes that the peer may send ahead of this side's reading (default: 4M).",
            valueName: "bytes"
        )
    )
    var capacity: ByteSize?

    @Flag(help: "Wait for a sender to connect, without a broker: the URL says where to listen.")
    var listen = false

    @Flag(help: "Check that the message-ids are the numbers from 1 on, each once, and in order.")
    var verifySequence = false

    func check() throws {
        try self.connection.check(isListening: self.listen)
        try self.flow.check()
        try self.reconnect.check(self.connection)
        guard !self.reconnect.isOn || self.stream == nil && !self.listen else {
            throw ValidationError("--reconnect cannot be used with --stream or --listen: omit one of them")
        }
        guard [self.outputPath, self.directory, self.stream].count(where: { $0 != nil }) <= 1 else {
            throw ValidationError("give only one of --output, --directory and --stream")
        }
        for (name, path) in [("--output", self.outputPath), ("--directory", self.directory), ("--stream", self.stream)]
        {
            try ConnectionOptions.check(path, of: name)
        }
        guard !self.listen || self.connection.urls.count == 1 else {
            throw ValidationError("--listen takes one URL: where to listen")
        }
        guard self.stream == nil || (self.count ?? 1) == 1 && !self.verifySequence else {
            throw ValidationError("--stream takes one message: leave out --count and --verify-sequence")
        }
        let least = 2 * AMQPConnection.Configuration().maxFrameSize.bytes
        guard (self.capacity?.bytes ?? least) >= least else {
            throw ValidationError("--capacity takes \(least) bytes or more: two frames")
        }
        guard (self.count ?? 1) >= 1 else { throw ValidationError("--count takes 1 or more") }
        try self.validateFlow()
        guard (self.idleTimeout ?? 1) > 0, (self.idleTimeout ?? 1) <= 1e9 else {
            throw ValidationError("--idle-timeout takes seconds, more than 0")
        }
    }

    private func validateFlow() throws {
        guard (1...WindowOption.most).contains(self.credit ?? 1) else {
            throw ValidationError("--credit takes 1 to \(WindowOption.most)")
        }
        guard self.window?.isInRange ?? true else {
            throw ValidationError("--window takes 1 to \(WindowOption.most) messages, or 1K bytes or more")
        }
        guard self.credit == nil || self.window == nil else {
            throw ValidationError("--credit is another name of --window: give one of the two")
        }
        guard self.budget == nil || self.chosenWindow == .auto else {
            throw ValidationError("--budget needs --window auto: omit --budget, --credit or the other --window")
        }
        guard self.budget?.bytes != 0 else { throw ValidationError("--budget takes 1 byte or more") }
        guard (0...1e9).contains(self.handlerDelay ?? 0) else {
            throw ValidationError("--handler-delay takes milliseconds, 0 or more")
        }
        let isOfMany =
            self.window != nil || self.credit != nil || self.budget != nil || self.flow.rateLimit != nil
            || self.handlerDelay != nil
        guard self.stream == nil || !isOfMany else {
            throw ValidationError(
                "--stream takes one message: leave out --window, --credit, --budget, --rate, --byte-rate and --handler-delay"
            )
        }
        if let rate = self.flow.rate, let idle = self.idleTimeout, idle * rate < 1 {
            throw ValidationError("--idle-timeout is shorter than the time between two messages of --rate")
        }
    }

    func run() async throws {
        let tally = Tally()
        let progress = Progress("received", isForced: self.output.progress)
        progress.setGoal(Goal(messages: self.count))
        var sequence = self.verifySequence ? SequenceCheck() : nil
        var failure: (any Error)?
        var peak = 0
        var isClosedByPeer = false
        var outages: OutageReport?
        do {
            var target: StreamTarget?
            if let path = self.stream { target = try await StreamTarget(path) }
            let sink = try await self.makeSink(progress)
            let consumer = Consumer(
                count: self.count,
                idleTimeout: self.idleTimeout.map { .seconds($0) },
                delay: self.handlerDelay.map { .seconds($0 / 1_000) },
                credit: self.grantedCredit,
                progress: progress
            )
            let peer = try await self.listen ? self.waitForSender(progress) : self.connectToBroker(progress)
            outages = peer.way.outages
            do {
                if let target {
                    try await target.take(from: peer.receiver, within: consumer.idleTimeout, tally, progress)
                } else {
                    // Counting messages blocks no thread. Writing files would block the connection's thread.
                    try await withTaskExecutorPreference(sink.isBlocking ? nil : peer.way.taskExecutor) {
                        try await consumer.run(peer.receiver, sink, tally, &sequence)
                    }
                }
            } catch {
                failure = error
            }
            isClosedByPeer = peer.receiver.error != nil
            await progress.finish()
            let link = peer.receiver.link
            peak = link?.bufferedBytesPeak ?? 0
            do {
                let isGivenUp = failure != nil || Program.isInterrupted
                try await peer.close(within: isGivenUp ? Closing.shortLimit : peer.way.limit)
            } catch let error as AMQPError where error.condition == .closed {
                // The peer closed the connection in order at the same time, which is not a failure.
            } catch {
                failure = failure ?? error
            }
            failure = failure.map(peer.way.naming)
            // --reconnect cannot be used with --stream or --listen.
            if self.stream == nil, !self.listen { failure = failure.map(self.reconnect.advising) }
            tally.notSettled = link?.unsentSettlements ?? 0
        } catch {
            failure = error
        }
        progress.stop()
        let reason = self.failure(failure, tally, sequence, hasLink: progress.hasLink, isClosedByPeer)
        let report = self.output.json ? self.report(tally, sequence, outages, peak, progress.blockedTimes) : nil
        try Ending("receiver", reason, tally.summary(of: self.count), hasBegun: progress.hasLink)
            .finish(report, isOnStandardError: self.outputPath == "-" || self.stream == "-")
    }

    private var chosenWindow: WindowOption {
        if let window = self.window ?? self.credit.map({ .messages($0) }) { return window }
        return self.budget == nil ? .messages(self.directory == nil ? 256 : 16) : .auto
    }

    /// The credit that the program grants, so that no unwanted message arrives; `nil` if the library grants it.
    private var grantedCredit: Int? {
        // A rate limit does not apply to credit that the program grants.
        guard self.count != nil, self.flow.rateLimit == nil, !self.reconnect.isOn,
            case .messages(let credit) = self.chosenWindow
        else {
            return nil
        }
        return credit
    }

    private func makeSink(_ progress: Progress) async throws -> any Sink {
        if let path = self.directory { return try DirectorySink(path, progress, comesAgain: self.reconnect.isOn) }
        if let path = self.outputPath { return try await LineSink(path) }
        return CountingSink()
    }

    /// Returns the reason why fewer messages arrived than requested; `nil` for success.
    private func failure(
        _ failure: (any Error)?,
        _ tally: Tally,
        _ sequence: SequenceCheck?,
        hasLink: Bool,
        _ isClosedByPeer: Bool
    ) -> (any Error)? {
        let isInterrupt = failure.map { Program.isInterrupted && Program.isCancellation($0) } ?? false
        if let failure, !(isInterrupt && hasLink && self.endsWithInterrupt) { return failure }
        let closed = "the peer closed the link"
        if let count = self.count, tally.messages < count {
            let idle = self.idleTimeout.map { "none arrived for \($0) s" } ?? closed
            return Failure(
                "only \(Units.count(tally.messages)) of \(Units.messages(count)) came: \(isClosedByPeer ? closed : idle)"
            )
        }
        do { try tally.check() } catch { return error }
        if let sequence, !(self.reconnect.isOn ? sequence.isComplete : sequence.isGood) {
            return Failure("the sequence is broken: \(sequence)")
        }
        if isClosedByPeer, !self.listen, self.count == nil, self.stream == nil { return Failure(closed) }
        return nil
    }

    /// Whether only an interrupt ends the receiver, so that an interrupt is not a failure.
    private var endsWithInterrupt: Bool {
        self.count == nil && self.idleTimeout == nil && self.stream == nil && !self.listen
    }

    private func report(
        _ tally: Tally,
        _ sequence: SequenceCheck?,
        _ outages: OutageReport?,
        _ peak: Int,
        _ blocked: [AMQPBlockCause: Duration]
    ) -> Report {
        var report = Report()
        report.add("messages", tally.messages)
        report.add("bytes", tally.bytes)
        report.add("seconds", seconds: tally.duration)
        report.add("mismatches", tally.mismatches)
        report.add("refused", tally.refused)
        report.add("aborted", tally.aborted)
        report.add("not_settled", tally.notSettled)
        if let outages {
            report.add("stale", tally.stale)
            outages.add(to: &report)
        }
        sequence?.add(to: &report)
        report.add("buffered_bytes_peak", peak)
        report.addBlocked(blocked)
        report.add("cpu_seconds", seconds: Usage.cpuTime)
        report.add("resident_bytes_peak", Usage.residentPeak)
        return report
    }

    // MARK: Peers

    /// Returns the configuration of the receiving link.
    private func makeConfiguration() -> AMQPReceiver.Configuration {
        var window = self.chosenWindow
        if case .messages(let most) = window { window = .messages(min(most, self.count ?? most)) }
        var configuration = AMQPReceiver.Configuration(
            window: self.grantedCredit == nil ? window.window(budget: self.budget?.bytes) : .manual
        )
        configuration.rateLimit = self.flow.rateLimit
        configuration.maxMessageSize = .gibibytes(1)
        if self.stream != nil { configuration.window = .onDemand }
        if self.stream != nil || self.directory != nil {
            configuration.maxMessageSize = nil
            configuration.streamsMessages = true
        }
        return configuration
    }

    private var sessionConfiguration: AMQPSession.Configuration {
        var configuration = AMQPSession.Configuration()
        if let capacity = self.capacity { configuration.incomingCapacity = AMQPByteCount(capacity.bytes) }
        return configuration
    }

    private var connectionConfiguration: AMQPConnection.Configuration {
        var configuration = self.connection.configuration()
        self.flow.apply(to: &configuration)
        return configuration
    }

    private func connectToBroker(_ progress: Progress) async throws -> Peer {
        let address = try self.connection.resolvedAddress()
        let urls = try await self.connection.resolvedURLs()
        let logger = Console.logger(of: "receiver", without: OutageReport.logged)
        var configuration = self.makeConfiguration()
        configuration.source = AMQPSource(address: address)
        let settings = configuration
        guard self.reconnect.isOn else {
            let connection = try await AMQPConnection.connect(
                to: urls[0],
                configuration: self.connectionConfiguration,
                logger: logger
            )
            let way = Way.connection(connection, to: urls[0])
            do {
                let session = try await connection.openSession(self.sessionConfiguration)
                let receiver = try await self.connection.explaining(address, connection) {
                    try await session.openReceiver(settings)
                }
                progress.watch(receiver)
                return Peer(way: way, receiver: receiver)
            } catch {
                throw way.naming(error)
            }
        }
        var clientSettings = self.reconnect.configuration(
            self.connectionConfiguration,
            first: self.connection.stallLimit
        )
        clientSettings.session = self.sessionConfiguration
        let client = AMQPClient(urls: urls, configuration: clientSettings, logger: logger)
        let way = Way.client(client, "receiver")
        do {
            let receiver = try await self.connection.explaining(address, client.connection) {
                try await client.receiver(settings)
            }
            progress.watch(receiver)
            return Peer(way: way, receiver: receiver)
        } catch {
            try? await way.close(within: Closing.shortLimit)
            throw way.naming(error)
        }
    }

    private func waitForSender(_ progress: Progress) async throws -> Peer {
        let url = try await self.connection.listeningURL()
        var configuration = AMQPListener.Configuration()
        configuration.connection = self.connectionConfiguration
        if url.isTLS { configuration.tls = AMQPServerTLS(identity: try self.connection.listeningIdentity()) }
        if let user = url.username {
            let password = url.password
            configuration.sasl = AMQPServerSASL(allowsPlainWithoutTLS: self.connection.insecure) { name, given in
                name.hasSameBytes(as: user) && password.map { given.hasSameBytes(as: $0) } ?? false
            }
        }
        let listener = try await AMQPListener.bind(
            host: url.host,
            port: url.port,
            configuration: configuration,
            logger: Console.logger(of: "receiver")
        )
        Console.error("receiver: listening on \(url.host):\(listener.port)")
        let doorman = Doorman(
            address: self.connection.address ?? url.address,
            session: self.sessionConfiguration,
            configuration: self.makeConfiguration()
        )
        let limit: Duration? = self.idleTimeout.map { .seconds($0) }
        let peer = try await doorman.firstSender(at: listener, within: limit)
        if let link = peer.receiver.link { progress.watch(link) }
        await listener.close()
        return peer
    }
}
