// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleFiles
import ExampleSupport
import NIOCore
import QpidProton

@main
enum Main {
    static func main() { Program.main(Sender.self) }
}

/// Sends messages, and waits until the peer has settled all of them.
struct Sender: ExampleCommand {
    static let configuration = CommandConfiguration(
        commandName: "sender",
        abstract: "Send messages to an AMQP 1.0 address, and wait until all are settled.",
        discussion: """
            Examples:
              sender amqp://localhost/greetings --body 'hello'
              sender localhost --address orders --file orders.txt --durable --property region=north
              ls | sender localhost/names --file - --json
              sender amqps://broker.example/backup --user ann --password-file secret.txt --directory photos
              sender localhost/load --count 1000000 --size 100 --progress
              tar c photos | sender localhost/backup --stream -
              sender localhost/mails --file mails.txt --rate 50 --byte-rate 1M
              sensor | sender localhost/readings --file - --limit 64K --overflow drop-oldest --priority 9
              sender amqps://a.example/orders amqps://b.example --reconnect 600 --file orders.txt

            RabbitMQ 4 addresses begin with a slash, and the address is the URL's path without its first slash:
              sender amqp://guest:guest@localhost//queues/orders --body 'hello'
              sender localhost --user guest --password-file secret.txt --address /exchanges/shop/order.books --body 'hello'

            At a terminal, one line shows the settled messages and the total, the time left and the rate. It also shows how much
            of --limit is used, the peer's credit and session window, and why the link waits. Without --json, a summary on
            stderr ends every run. With --json, blocked_seconds holds the seconds of waiting by cause.

            If the peer releases every message (a router without a consumer does), the sender slows down to one message every
            2 seconds. It ends after --released-limit. It does not send released messages again: they count as not accepted.

            With --reconnect, the sender survives lost connections: stderr shows each loss, each failed attempt and each recovery.
            The sender sends unsettled messages again, so these may arrive twice. --limit then also counts unsettled messages
            (default: 16M), and the figures of the link belong to the last one.

            Exit codes:
              0    every message was accepted (with --settled: written), or dropped because --overflow allows it
              1    an error, or messages that were not accepted, including messages settled without an outcome;
                   stderr names the cause
              64   unusable options
              130  ended by Ctrl-C before that (143 by SIGTERM); a second signal ends the program at once
            """
    )

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var flow: FlowOptions
    @OptionGroup var reconnect: ReconnectOptions

    @Option(help: ArgumentHelp("Send this text as one message.", valueName: "text"))
    var body: String?

    @Option(
        help: ArgumentHelp(
            "Send each line of a file as a message, without its LF or CRLF; - reads stdin.",
            valueName: "path"
        )
    )
    var file: String?

    @Option(
        help: ArgumentHelp(
            """
            Send each regular file below a directory as a message: the path in the subject, permissions and SHA-256 in \
            application properties. Files may have any size. Symbolic links and empty directories are not sent. The \
            sender reports each entry that it cannot send on stderr, and the exit code is then 1.
            """,
            valueName: "path"
        )
    )
    var directory: String?

    @Option(
        help: ArgumentHelp(
            "Send a file of any size as one message, which is never held whole; - reads stdin.",
            valueName: "path"
        )
    )
    var stream: String?

    @Option(help: ArgumentHelp("Send this many messages, numbered from 1 in message-id and body.", valueName: "number"))
    var count: Int?

    @Option(help: ArgumentHelp("The bytes in the body of each message of --count (default: 100).", valueName: "bytes"))
    var size: ByteSize?

    @Flag(help: "Send settled: there is no outcome to report.")
    var settled = false

    @Flag(help: "Ask for messages that survive the failure of a node.")
    var durable = false

    @Option(help: ArgumentHelp("The time to live in the messages' headers.", valueName: "seconds"))
    var ttl: Double?

    @Option(
        help: ArgumentHelp(
            "The priority in the messages' headers, for the peer: 0 to 255; 4 is the usual one.",
            valueName: "number"
        )
    )
    var messagePriority: Int?

    @Option(help: ArgumentHelp("An application property, a string; may be repeated.", valueName: "key=value"))
    var property: [String] = []

    @Option(help: ArgumentHelp("The MIME type of the bodies.", valueName: "type"))
    var contentType: String?

    @Option(
        help: ArgumentHelp(
            "The bytes that may be accepted and not yet written to the socket; K, M, G are understood (default: 1M).",
            valueName: "bytes"
        )
    )
    var limit: ByteSize?

    @Option(
        help: ArgumentHelp(
            """
            The policy for a message that exceeds --limit: suspend (the default) makes it wait, fail refuses it (exit code 1), \
            and the others drop and count the oldest or the newest messages. All policies but suspend continue to read \
            input while the peer accepts no message.
            """,
            valueName: "policy"
        )
    )
    var overflow: Overflow?

    @Option(
        help: ArgumentHelp(
            "How urgent the messages are beside those of other senders of a connection: 0 to 9 (default: 4).",
            valueName: "number"
        )
    )
    var priority: Int?

    @Option(
        help: ArgumentHelp(
            "End with an error after the peer has released every message for this long; 0 for never.",
            valueName: "seconds"
        )
    )
    var releasedLimit = 60.0

    func check() throws {
        try self.connection.check()
        try self.flow.check()
        try self.reconnect.check(self.connection)
        let sources = [
            self.body != nil, self.file != nil, self.directory != nil, self.stream != nil, self.count != nil,
        ]
        guard sources.count(where: { $0 }) == 1 else {
            throw ValidationError("give exactly one of --body, --file, --directory, --stream and --count")
        }
        for (name, path) in [("--file", self.file), ("--directory", self.directory), ("--stream", self.stream)] {
            try ConnectionOptions.check(path, of: name)
        }
        guard self.size == nil || self.count != nil else {
            throw ValidationError("--size needs --count: add it, or omit --size")
        }
        guard (0...1e9).contains(self.releasedLimit) else {
            throw ValidationError("--released-limit takes seconds, 0 or more")
        }
        guard (self.count ?? 0) >= 0 else { throw ValidationError("--count takes 0 or more") }
        guard (self.size?.bytes ?? 0) <= 1 << 30 else { throw ValidationError("--size takes 1 GiB at most") }
        guard (self.ttl ?? 0) >= 0, (self.ttl ?? 0) <= 4_294_967 else {
            throw ValidationError("--ttl takes 0 to 4294967 seconds")
        }
        if let property = self.property.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) {
            throw ValidationError("--property takes a key, = and a value, and not '\(property)': write it as key=value")
        }
        guard self.contentType?.utf8.allSatisfy({ $0 < 128 }) ?? true else {
            throw ValidationError("--content-type takes ASCII")
        }
        guard self.limit?.bytes != 0 else { throw ValidationError("--limit takes 1 byte or more") }
        guard (0...9).contains(self.priority ?? 4) else {
            throw ValidationError("--priority takes 0 to 9; the one in the messages is --message-priority")
        }
        guard (0...255).contains(self.messagePriority ?? 4) else {
            throw ValidationError("--message-priority takes 0 to 255")
        }
        guard !self.reconnect.isOn || self.stream == nil else {
            throw ValidationError(
                "--reconnect cannot be used with --stream, because a message that has begun is not sent again: omit one of them"
            )
        }
        guard self.overflow == nil || self.stream == nil else {
            throw ValidationError(
                "--overflow cannot be used with --stream, because a message that has begun is not dropped: omit one of them"
            )
        }
    }

    func run() async throws {
        let tally = Tally(
            isSettled: self.settled,
            stallLimit: self.connection.stallLimit,
            releasedLimit: self.releasedLimit > 0 ? .seconds(self.releasedLimit) : nil
        )
        let progress = Progress(self.settled ? "sent" : "settled", isForced: self.output.progress)
        let clock = ContinuousClock()
        let start = clock.now
        var run = Run()
        var source: Source?
        do {
            let address = try self.connection.resolvedAddress()
            let urls = try await self.connection.resolvedURLs()
            let made = try await self.makeSource(tally, progress)
            source = made
            progress.setGoal(self.goal(made))
            let way = try await self.connect(to: urls)
            do {
                try await self.send(made, to: address, on: way, tally, progress)
                run.isDone = true
            } catch {
                run.failure = error
            }
            run.peak = way.connection?.outgoingBytesPeak ?? 0
            do {
                try await way.close(within: run.isDone ? way.limit : Closing.shortLimit)
            } catch {
                run.failure = run.failure ?? error
            }
            run.failure = run.failure.map(way.naming)
            // --reconnect cannot be used with --stream.
            if self.stream == nil { run.failure = run.failure.map(self.reconnect.advising) }
            run.outages = way.outages
        } catch {
            run.failure = error
        }
        progress.stop()
        try self.end(run, source, tally, progress, clock.now - start)
    }

    /// The result of a run.
    private struct Run {
        var failure: (any Error)?
        /// Whether the peer settled every message and the link closed in order.
        var isDone = false
        /// The most bytes that the connection held for the socket.
        var peak = 0
        /// The observed losses and recoveries, with `--reconnect`.
        var outages: OutageReport?
    }

    /// Reports the end of a run. Throws if work is unfinished.
    private func end(
        _ run: Run,
        _ source: Source?,
        _ tally: Tally,
        _ progress: Progress,
        _ seconds: Duration
    ) throws {
        var failure = run.failure
        if run.isDone, Program.isInterrupted { failure = nil }
        let (skipped, links) = (source?.skipped ?? 0, source?.links ?? 0)
        if links > 0 { Console.error("sender: symbolic links not sent: \(links)") }
        if tally.dropped > 0 {
            let policy = self.overflow?.rawValue ?? ""
            Console.error("sender: dropped \(tally.dropped) of \(tally.messages) messages for lack of room (\(policy))")
        }
        if failure == nil {
            do { try tally.check() } catch { failure = error }
        }
        if failure == nil, skipped > 0 {
            failure = Failure("entries left out because they could not be sent: \(skipped)")
        }
        var report: Report?
        if self.output.json {
            var figures = tally.report(seconds)
            run.outages?.add(to: &figures)
            figures.add("skipped", skipped)
            figures.add("symbolic_links", links)
            figures.add("outgoing_bytes_peak", run.peak)
            figures.addBlocked(progress.blockedTimes)
            figures.add("cpu_seconds", seconds: Usage.cpuTime)
            figures.add("resident_bytes_peak", Usage.residentPeak)
            report = figures
        }
        let summary = tally.summary(of: source?.messageCount(self.count), seconds)
        try Ending("sender", failure, summary, hasBegun: progress.hasLink).finish(report)
    }

    /// Returns the amount of work, as far as it is known.
    private func goal(_ source: Source) -> Goal {
        switch source {
        case .stream(let body): Goal(bytes: body.length)
        case .messages: Goal(messages: source.messageCount(self.count))
        }
    }

    /// Opens the source. Suspends while a FIFO has no writer.
    private func makeSource(_ tally: Tally, _ progress: Progress) async throws -> Source {
        let limit = self.connection.stallLimit
        if let path = self.stream {
            let body = try await FileBody(path, within: limit) { count in
                // Waiting for input is not a standstill.
                tally.moved()
                progress.add(messages: 0, bytes: count)
            }
            return .stream(body)
        }
        if let body = self.body { return .messages(TextSource(text: body, isData: self.contentType != nil)) }
        if let path = self.file { return .messages(try await LineSource(path, within: limit)) }
        if let path = self.directory { return .messages(try DirectorySource(path)) }
        return .messages(NumberSource(count: self.count ?? 0, size: self.size?.bytes ?? 100))
    }

    /// Connects once. With `--reconnect` it creates a client, which connects at its first use.
    private func connect(to urls: [AMQPURL]) async throws -> Way {
        var configuration = self.connection.configuration()
        self.flow.apply(to: &configuration)
        // The summary reports the numbers of unsent and unsettled messages.
        let ignored = OutageReport.logged.union(["messages failed: their sender has ended"])
        let logger = Console.logger(of: "sender", without: ignored)
        guard self.reconnect.isOn else {
            return .connection(
                try await AMQPConnection.connect(to: urls[0], configuration: configuration, logger: logger),
                to: urls[0]
            )
        }
        var settings = self.reconnect.configuration(configuration, first: self.connection.stallLimit)
        if let limit = self.limit { settings.session.sendLimit = AMQPSendLimit(high: AMQPByteCount(limit.bytes)) }
        return .client(AMQPClient(urls: urls, configuration: settings, logger: logger), "sender")
    }

    /// Returns the settings of the link.
    private func link(to address: String) -> AMQPSender.Configuration {
        var link = AMQPSender.Configuration(target: AMQPTarget(address: address))
        link.settleMode = self.settled ? .settled : .unsettled
        link.rateLimit = self.flow.rateLimit
        link.priority = self.priority ?? link.priority
        link.overflow = (self.overflow ?? .suspend).policy
        return link
    }

    private func open(_ address: String, on way: Way, _ progress: Progress) async throws -> any Outlet {
        switch way.kind {
        case .connection(let connection):
            var settings = AMQPSession.Configuration()
            if let limit = self.limit { settings.sendLimit = AMQPSendLimit(high: AMQPByteCount(limit.bytes)) }
            let session = try await connection.openSession(settings)
            let sender = try await self.connection.explaining(address, connection) {
                try await session.openSender(self.link(to: address))
            }
            progress.watch(sender)
            return sender
        case .client(let client):
            var settings = AMQPClient.Sender.Configuration()
            settings.link = self.link(to: address)
            if let limit = self.limit { settings.replayLimit = AMQPByteCount(limit.bytes) }
            let sender = try await self.connection.explaining(address, client.connection) {
                try await client.sender(settings)
            }
            progress.watch(sender)
            return sender
        }
    }

    private func send(
        _ source: Source,
        to address: String,
        on way: Way,
        _ tally: Tally,
        _ progress: Progress
    ) async throws {
        let rateLimit = self.flow.rateLimit
        let isAhead = (self.overflow ?? .suspend) != .suspend
        let template = self.template
        let sender = try await self.open(address, on: way, progress)
        do {
            // Creating messages in memory blocks no thread. Reading files would block the connection's thread.
            try await withTaskExecutorPreference(source.isBlocking ? nil : way.taskExecutor) {
                try await tally.whileMoving {
                    let link = sender.link
                    return Tally.Movement(
                        deliveryLimit: link?.deliveryLimit ?? 0,
                        outgoingBytes: link?.outgoingBytes.bytes ?? 0
                    )
                } isPaced: {
                    // An outage has its own limit.
                    if progress.isDown { return true }
                    return await progress.look()?.link.blockedBy == .rate
                } beside: {
                    try await ReleaseBackoff(sender: sender, rateLimit: rateLimit, tally: tally).run()
                } _: {
                    switch (source, sender) {
                    case (.messages(let source), _):
                        let pipeline = Pipeline(sender, isAhead: isAhead, tally, progress)
                        try await pipeline.send(source, template)
                    case (.stream(let body), let sender as AMQPSender):
                        try await Self.stream(body, on: sender, tally, progress, template)
                    case (.stream, _): throw Failure("--stream cannot be used with --reconnect: omit one of them")
                    }
                }
            }
        } catch {
            let error = Self.cause(of: error, sender)
            await Self.note(sender, tally, progress)
            // The link closes before the connection, also after a failure.
            if let link = sender as? AMQPSender {
                try? await Closing.run(within: Closing.shortLimit) {
                    try await link.close().check()
                    try await link.session.close().check()
                }
            }
            throw error
        }
        await Self.note(sender, tally, progress)
        guard let link = sender as? AMQPSender else { return }
        try await link.close().check()
        try await link.session.close().check()
    }

    /// Returns the error that ended the link, if that is why a message failed.
    private static func cause(of error: any Error, _ sender: any Outlet) -> any Error {
        guard let error = error as? AMQPError, error.fate != nil || error.condition == .closed,
            error.condition != .cancelled, let cause = sender.error
        else { return error }
        // This side closes the link only after the last outcome.
        let isWithoutError = cause.condition == .closed && cause.scope == .link
        return isWithoutError ? Failure("the peer closed the link before all messages were settled") : cause
    }

    /// Records the figures of the link while it exists.
    private static func note(_ sender: any Outlet, _ tally: Tally, _ progress: Progress) async {
        await progress.finish()
        tally.wereDropped(sender.droppedMessages)
    }

    private static func stream(
        _ body: FileBody,
        on sender: AMQPSender,
        _ tally: Tally,
        _ progress: Progress,
        _ template: Template
    ) async throws {
        var message = AMQPMessage()
        template.apply(to: &message)
        tally.sent()
        // One data section holds 4 GiB at most.
        let length = body.length.flatMap { $0 <= UInt32.max ? AMQPByteCount($0) : nil }
        let outcome = try await sender.stream(message, length: length, body: body)
        tally.ended(.success(outcome), bytes: progress.byteCount)
        progress.add(outcome, bytes: 0)
    }

    /// The fields that the options set in each message.
    private var template: Template {
        Template(
            header: AMQPHeader(
                durable: self.durable,
                priority: UInt8(clamping: self.messagePriority ?? 4),
                timeToLive: self.ttl.map { .seconds($0) }
            ),
            properties: self.property.map { property in
                let parts = property.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), String(parts[1]))
            },
            contentType: self.contentType.map { AMQPSymbol($0) }
        )
    }
}
