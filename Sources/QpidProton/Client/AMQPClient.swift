// SPDX-License-Identifier: Apache-2.0

public import Logging

/// A client whose senders and receivers outlive their connections.
///
/// When a connection is lost, the client connects to the next of its URLs: at once, and then with random delays. It
/// attaches its links again, sends unsettled messages again, and continues to receive. Suspended calls keep waiting.
/// ``Sender`` keeps each accepted message until it is settled, within a limit in bytes.
///
/// The client connects at its first use, or with ``connect()`` or ``run()``. Keep the client, or one of its senders or
/// receivers. The client closes when the last reference is released and all accepted messages have their fates.
///
/// | State | Behaviour of the client |
/// |---|---|
/// | ``State/idle`` | waits for its first use |
/// | ``State/connecting`` | attempts to connect, for at most ``Recovery/firstConnectionTimeout`` |
/// | ``State/open(generation:)`` | attaches links, also after a loss of the link alone |
/// | ``State/recovering(_:)`` | attempts to connect, for at most ``Recovery/giveUpAfter``; senders accept within their limits |
/// | ``State/closing`` | finishes the work of its links, within the limit of the close |
/// | ``State/closed(_:)`` | does nothing; every message has its fate |
///
/// A non-retryable error ends the client: see ``AMQPError/isRetryable``.
public final class AMQPClient: Sendable {
    /// The settings of the client.
    public let configuration: Configuration
    let supervisor: ClientSupervisor

    /// Creates a client of a peer with several URLs, which the client uses in turn.
    ///
    /// Does not connect yet. The first call that needs the connection throws the error of an unusable URL or setting.
    ///
    /// - Parameters:
    ///   - urls: The URLs, without addresses, for example `amqps://user:password@a.example`.
    ///   - configuration: The settings.
    ///   - logger: Receives one warning for each loss and one line for each recovery, and the log of the connections.
    public init(
        urls: [String],
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) {
        let parsed: Result<[AMQPURL], AMQPError>
        do throws(AMQPError) {
            var all: [AMQPURL] = []
            for url in urls { all.append(try AMQPURL(url)) }
            parsed = .success(all)
        } catch {
            parsed = .failure(error)
        }
        self.configuration = configuration
        self.supervisor = ClientSupervisor(parsed, configuration, logger)
    }

    /// Creates a client of a peer with several URLs, which the client uses in turn; see ``init(urls:configuration:logger:)-([String],_,_)``.
    ///
    /// - Parameters:
    ///   - urls: The URLs, without addresses.
    ///   - configuration: The settings.
    ///   - logger: Receives one warning for each loss and one line for each recovery.
    public init(
        urls: [AMQPURL],
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) {
        self.configuration = configuration
        self.supervisor = ClientSupervisor(.success(urls), configuration, logger)
    }

    /// Creates a client of a peer with one URL; see ``init(urls:configuration:logger:)-([String],_,_)``.
    ///
    /// - Parameters:
    ///   - url: The URL, without an address.
    ///   - configuration: The settings.
    ///   - logger: Receives one warning for each loss and one line for each recovery.
    public convenience init(
        url: String,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() }
    ) {
        self.init(urls: [url], configuration: configuration, logger: logger)
    }

    deinit {
        let supervisor = self.supervisor
        supervisor.closeAtOnce()
    }

    // MARK: State

    /// The state of the connection.
    public var state: State { self.supervisor.phase }

    /// The open connection; `nil` during an outage.
    ///
    /// Use it for sessions and links that end with the connection. Close the client, not the connection.
    public var connection: AMQPConnection? { self.supervisor.connection }

    /// The health of the client, for a readiness probe.
    public var health: Health { self.supervisor.health }

    /// The events of the client from now on.
    ///
    /// Each call returns its own sequence. The sequence buffers the last 1,024 events and drops older ones. It ends
    /// with the client, and a cancelled task receives no further event.
    public var events: some AsyncSequence<Event, Never> & Sendable { self.supervisor.events() }

    // MARK: Running

    /// Connects, and suspends until a connection is open.
    ///
    /// Returns at once if a connection is open. During an outage it suspends until the client is connected again.
    /// Cancellation ends only the wait.
    ///
    /// - Throws: `AMQPError` if the client ends: by a non-retryable error, at ``Recovery/firstConnectionTimeout`` or
    ///   ``Recovery/giveUpAfter``, or by a close.
    public func connect() async throws(AMQPError) { try await self.supervisor.connect() }

    /// Finishes the work of all links and closes the client, within a limit.
    ///
    /// First the consumers and receivers stop: the application can settle the messages that it holds, and its senders
    /// work as before. Then the senders accept no more messages and send the accepted ones. During an outage the client
    /// does not wait for another connection. Any task may call it, more than once: all calls return the same result,
    /// and the shortest limit applies. Cancellation ends the remaining time.
    ///
    /// - Parameter limit: How long the whole close may take: 30 s by default. With zero the client does not wait for
    ///   work, and the peer has `operationTimeout` to answer.
    /// - Returns: The unsent messages, the messages in doubt, and the other unfinished work of the links.
    @discardableResult
    public func close(within limit: Duration = .seconds(30)) async -> AMQPCloseResult {
        await self.supervisor.close(within: limit)
    }

    /// Runs `body` with a client, and closes the client, also if `body` throws or the task is cancelled.
    ///
    /// - Parameters:
    ///   - urls: The URLs, without addresses.
    ///   - configuration: The settings.
    ///   - logger: Receives one warning for each loss and one line for each recovery.
    ///   - limit: How long the end of the scope may take; 30 s by default, at most 1 s if the task is cancelled.
    ///   - body: The closure that uses the client.
    /// - Throws: The error of `body`. If `body` threw none, the error of the close, or an `AMQPError` with the numbers
    ///   of unsent and unsettled messages.
    @discardableResult
    public static func withClient<Result>(
        urls: [String],
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPClient) async throws -> Result
    ) async throws -> Result {
        let client = AMQPClient(urls: urls, configuration: configuration, logger: logger)
        let result: Result
        do {
            result = try await body(client)
        } catch {
            await client.endScope(within: limit)
            throw error
        }
        try await client.endScope(within: limit).checkScope(within: limit)
        return result
    }

    /// Runs `body` with a client of one URL; see ``withClient(urls:configuration:logger:closingWithin:_:)``.
    ///
    /// - Parameters:
    ///   - url: The URL, without an address.
    ///   - configuration: The settings.
    ///   - logger: Receives one warning for each loss and one line for each recovery.
    ///   - limit: How long the end of the scope may take; 30 s by default.
    ///   - body: The closure that uses the client.
    @discardableResult
    public static func withClient<Result>(
        url: String,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPClient) async throws -> Result
    ) async throws -> Result {
        try await self.withClient(
            urls: [url],
            configuration: configuration,
            logger: logger,
            closingWithin: limit,
            body
        )
    }

    /// Closes in a separate task, so that a cancelled scope still has its 1 s.
    @discardableResult
    private func endScope(within limit: Duration) async -> AMQPCloseResult {
        let closing = Task { await self.close(within: limit) }
        return await withTaskCancellationHandler {
            await closing.value
        } onCancel: {
            Task { await self.close(within: .seconds(1)) }
        }
    }
}

extension AMQPCloseResult {
    /// Throws the error of a scope whose body did not throw. An unsettled delivery is no error.
    fileprivate func checkScope(within limit: Duration) throws(AMQPError) {
        let (unsent, doubtful) = (self.notSent, self.inDoubt)
        guard unsent + doubtful + self.settlementsNotWritten + self.settlementsInDoubt > 0 else {
            if let error = self.error { throw error }
            return
        }
        var error =
            self.error ?? .client(.timeout, "the peer did not settle every message within \(limit)", scope: .connection)
        error.detail = "unfinished at the end of the scope: \(self)"
        error.fate = doubtful > 0 ? .inDoubt : unsent > 0 ? .notSent : nil
        throw error
    }
}
