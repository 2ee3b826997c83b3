// SPDX-License-Identifier: Apache-2.0

internal import DequeModule
internal import Logging
internal import Synchronization

/// Carries out the decisions of a client's state: attempts, timers, the links of each connection, events.
///
/// Any task may report events. The task of the first event runs all pending actions in order.
final class ClientSupervisor: Sendable {
    /// A link with the task that attaches it again.
    struct Managed: Sendable {
        let link: any ClientLink
        var task: Task<Void, Never>?
        /// The generation of the connection on which the task keeps the link attached.
        var generation = 0
        var isAttached = false
        /// The reply that is answered when the link is attached on the connection, or when the first attempt has
        /// failed.
        var tried: Reply<Void>?
    }

    /// The links of one lost or closing connection. The last released link reports the messages in doubt.
    struct Leaving: Sendable {
        var runners = 0
        var figures = LossFigures()
        var cause: AMQPError?
        /// The URL of the connection.
        var url: AMQPURL?
    }

    struct State: Sendable {
        var machine: ClientState
        var random = SystemRandomNumberGenerator()
        var actions: Deque<ClientState.Action> = []
        var isActing = false
        var hosts: ClientHosts
        var attempts: [Int: Task<Void, Never>] = [:]
        /// Connections of attempts that are not used yet.
        var brought: [Int: (connection: AMQPConnection, host: ClientHosts.Host)] = [:]
        var connection: AMQPConnection?
        /// The URL of the last connection.
        var url: AMQPURL?
        var sessions: ClientSessions?
        var generation = 0
        /// The task that attaches the links of a new connection, until the receivers have their credit.
        var restoring: Task<Void, Never>?
        var timer: (at: Duration, task: Task<Void, Never>)?
        var links: [ObjectIdentifier: Managed] = [:]
        var leaving: [Int: Leaving] = [:]
        /// The time of the loss of the connection; `nil` when all links are attached again.
        var lostSince: Duration?
        var replayed = 0
        /// Tasks that wait for the first connection.
        var opened: [Reply<Void>] = []
        var subscribers: [Int: AsyncStream<AMQPClient.Event>.Continuation] = [:]
        var nextSubscriber = 0
        /// The error of the last loss, until the connection is open again.
        var lastLoss: AMQPError?
        var closeBy: Duration?
        /// Whether a close has a limit of zero. Such a close waits for no work, and up to `operationTimeout` for the
        /// peer's answer.
        var closesAtOnce = false
        /// The running close of the connection.
        var closing: Task<Void, Never>?
        var closeError: AMQPError?
        var hasClosed = false
    }

    let urls: [AMQPURL]
    /// An unusable URL or setting.
    let invalid: AMQPError?
    let configuration: AMQPClient.Configuration
    let log: ClientLog
    let clock: ClientClock
    let ended = Reply<AMQPCloseResult>()
    let shutdown: ClientShutdown
    let state: Mutex<State>

    init(
        _ urls: Result<[AMQPURL], AMQPError>,
        _ configuration: AMQPClient.Configuration,
        _ logger: Logger
    ) {
        (self.urls, self.invalid) = Self.check(urls, configuration)
        self.configuration = configuration
        self.clock = ClientClock(configuration.connection.eventLoopGroup)
        self.shutdown = ClientShutdown(configuration.shutdownLimit, self.clock)
        self.log = ClientLog(logger: logger, metrics: configuration.connection.metrics)
        let limits = ClientState.Limits(
            backoff: configuration.recovery.backoff,
            firstConnection: configuration.recovery.firstConnectionTimeout,
            giveUpAfter: configuration.recovery.giveUpAfter
        )
        let hosts = ClientHosts(
            self.urls,
            configuration.recovery.announcedHosts,
            mayHavePassword: configuration.mayHavePassword
        )
        self.state = Mutex(State(machine: ClientState(limits), hosts: hosts))
    }

    private static func check(
        _ urls: Result<[AMQPURL], AMQPError>,
        _ configuration: AMQPClient.Configuration
    ) -> ([AMQPURL], AMQPError?) {
        do throws(AMQPError) {
            try configuration.validate()
            let urls = try urls.get()
            return (urls, urls.isEmpty ? .client(.invalidArgument, "the client has no URL") : nil)
        } catch {
            return ([], error)
        }
    }

    // MARK: Events and actions

    func send(_ event: ClientState.Event) {
        let isFree = self.state.withLock { state in
            state.actions += state.machine.handle(event, at: self.clock.now, using: &state.random)
            defer { state.isActing = true }
            return !state.isActing
        }
        guard isFree else { return }
        while let action = self.nextAction() { self.perform(action) }
        self.setTimer()
    }

    private func nextAction() -> ClientState.Action? {
        self.state.withLock { state in
            let next = state.actions.popFirst()
            if next == nil { state.isActing = false }
            return next
        }
    }

    /// Sets the timer for the state's next tick.
    private func setTimer() {
        self.state.withLock { state in
            let wakeUp = state.machine.wakeUp
            guard wakeUp != state.timer?.at else { return }
            state.timer?.task.cancel()
            state.timer = wakeUp.map { at in
                let task = Task {
                    do { try await self.clock.sleep(until: at) } catch { return }
                    self.state.withLock { if $0.timer?.at == at { $0.timer = nil } }
                    self.send(.tick)
                }
                return (at, task)
            }
        }
    }

    private func perform(_ action: ClientState.Action) {
        switch action {
        case .connect(let attempt): self.connect(attempt)
        case .cancel(let attempt): self.state.withLock { $0.attempts.removeValue(forKey: attempt)?.cancel() }
        case .discard(let attempt): self.discard(attempt)
        case .open(let generation, let attempt): self.open(generation, attempt)
        case .lose(let generation, let error): self.lose(generation, error)
        case .shut(let generation):
            let task = Task { await self.shut(generation) }
            self.state.withLock { $0.closing = task }
        case .finish(let error): Task { await self.finish(error) }
        }
    }

    // MARK: Attempts

    private func connect(_ number: Int) {
        let (count, last, host) = self.state.withLock { state in
            (state.machine.attempts, state.machine.generation, state.hosts.take())
        }
        let url = host.url
        self.emit(.attempt(number: count, url: url))
        self.log.attempt(count, url)
        let attempt = ClientAttempt(
            configuration: self.configuration,
            logger: self.log.connectionLogger,
            clock: self.clock,
            isRecovery: last > 0
        )
        let task = Task {
            do throws(ClientAttempt.Failure) {
                let connection = try await attempt.connect(to: host)
                do throws(ClientAttempt.Failure) {
                    try await attempt.prepare(connection, last + 1)
                } catch {
                    self.hookFailed(last + 1, url, error.error)
                    throw error
                }
                self.state.withLock { state in
                    state.attempts[number] = nil
                    state.brought[number] = (connection, host)
                }
                self.send(.connected(attempt: number))
            } catch {
                let isRedirected = self.state.withLock { state in
                    state.attempts[number] = nil
                    return state.hosts.redirected(error.error, from: host)
                }
                if error.error.condition != .cancelled {
                    self.emit(.attemptFailed(number: count, url: url, error.error))
                    self.log.attemptFailed(count, url, error.error, isFirst: last == 0 && count == 1)
                }
                self.send(.failed(attempt: number, error.error, isFatal: error.isFatal && !isRedirected))
            }
        }
        self.state.withLock { state in
            // The attempt may already have ended.
            if state.machine.running == number, state.brought[number] == nil { state.attempts[number] = task }
        }
    }

    private func hookFailed(_ generation: Int, _ url: AMQPURL, _ error: AMQPError) {
        guard error.condition != .cancelled else { return }
        self.emit(.onConnectFailed(generation: generation, url: url, error))
        self.log.hookFailed(generation, url, error)
    }

    private func discard(_ attempt: Int) {
        let connection = self.state.withLock { $0.brought.removeValue(forKey: attempt) }
        if let connection { Task { _ = await connection.connection.close() } }
    }

    // MARK: Generations

    private func open(_ generation: Int, _ attempt: Int) {
        guard let (connection, host) = self.state.withLock({ $0.brought.removeValue(forKey: attempt) }) else { return }
        let (links, opened) = self.state.withLock { state in
            state.hosts.opened(host, connection.peer.properties)
            state.connection = connection
            state.url = host.url
            state.sessions = ClientSessions(connection, self.configuration)
            state.generation = generation
            state.replayed = 0
            state.lastLoss = nil
            for id in state.links.keys { state.links[id]?.tried = Reply() }
            defer { state.opened = [] }
            return (Array(state.links.values), state.opened)
        }
        self.emit(.open(generation: generation, url: host.url))
        if generation == 1 { self.log.opened(host.url) }
        self.restore(links, generation)
        for reply in opened { reply.resolve(.success(())) }
        Task {
            try? await connection.waitUntilClosed()
            let error =
                connection.error
                ?? AMQPError(scope: .connection, condition: .connectionLost, detail: "the connection has ended")
            let isRedirected = self.state.withLock { $0.hosts.redirected(error, from: host) }
            self.send(.lost(generation: generation, error, isFatal: !error.isRetryable && !isRedirected))
        }
    }

    private func lose(_ generation: Int, _ error: AMQPError) {
        let tasks = self.state.withLock { state in
            state.connection = nil
            state.sessions = nil
            state.restoring?.cancel()
            state.restoring = nil
            state.lastLoss = error
            if state.lostSince == nil { state.lostSince = self.clock.now }
            state.leaving[generation, default: Leaving()].cause = error
            state.leaving[generation]?.url = state.url
            for id in state.links.keys { state.links[id]?.isAttached = false }
            return state.links.values.compactMap(\.task)
        }
        // These tasks sleep, or wait for links that the lost connection has ended.
        for task in tasks { task.cancel() }
        self.tellLoss(of: generation)
    }

    /// Reports a loss once all links of the generation are released.
    func tellLoss(of generation: Int) {
        let loss = self.state.withLock { state -> (AMQPError, LossFigures, AMQPURL?)? in
            guard let leaving = state.leaving[generation], let cause = leaving.cause, leaving.runners == 0 else {
                return nil
            }
            state.leaving[generation] = nil
            return (cause, leaving.figures, leaving.url)
        }
        guard let (cause, figures, url) = loss else { return }
        self.emit(.lost(cause, inDoubt: figures.inDoubt, bytes: AMQPByteCount(figures.bytes)))
        self.log.lost(cause, url, figures)
    }

    /// Reports a recovery once all links are attached.
    func noteAttached() {
        let recovery = self.state.withLock { state -> (Int, AMQPURL?, Int, Duration)? in
            guard let since = state.lostSince, state.connection != nil, state.restoring == nil,
                state.links.values.allSatisfy(\.isAttached)
            else { return nil }
            state.lostSince = nil
            return (state.generation, state.url, state.replayed, self.clock.now - since)
        }
        guard let (generation, url, replayed, time) = recovery else { return }
        self.emit(.recovered(generation: generation, replayed: replayed, after: time))
        self.log.recovered(generation, url, replayed: replayed, after: time)
    }
}
