// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import Synchronization

/// Carries out the decisions of a consumer's state: the tasks of the handlers, the settlements and the credit.
final class ConsumerRunner: Sendable {
    typealias ID = ConsumerState.ID
    typealias Handler = @Sendable (AMQPConsumer.Delivery) async throws -> Void

    /// A message, until it is finished.
    struct Entry: Sendable {
        let delivery: AMQPDelivery
        /// The link of the message, or a later one; `nil` if it is unknown.
        let link: AMQPReceiver?
        let envelope: ConsumerEnvelope
        var attempt = 0
        /// The error of the last attempt.
        var error: (any Error)?
        var task: Task<Void, Never>?
        var timer: Task<Void, Never>?

        /// Whether the peer waits for the decision, and sends the message again without it. A stream, and a sender that
        /// has settled the message, do not wait.
        var awaitsDecision: Bool { !self.delivery.isSettled && self.envelope.streamOffset == nil }
        var isStale: Bool { self.awaitsDecision && self.link?.error != nil }
    }

    struct Guarded: Sendable {
        var state: ConsumerState
        var result = AMQPConsumerResult()
        var memory: AttemptMemory
        var entries: [ID: Entry] = [:]
        var nextID: ID = 0
        var receiver: AMQPClient.Receiver?
        /// The next offset of a stream.
        var nextOffset: UInt64?
        /// The reply that is answered when a further message fits.
        var room: Reply<Void>?
        var deadline: Duration?
        /// The tasks that a stop or its limit cancels.
        var untilStop: [Task<Void, Never>] = []
        var untilHurry: [Task<Void, Never>] = []
        var clockwork: Task<Void, Never>?
    }

    /// The work to do after releasing the lock.
    struct Aftermath {
        var cancelled: [Task<Void, Never>] = []
        var rejected: [AMQPError] = []
        var room: Reply<Void>?
        var isIdle = false
    }

    let configuration: AMQPConsumer.Configuration
    let clock: ClientClock
    let logger: Logger
    let meter: ConsumerMeter?
    let handler: Handler
    let guarded: Mutex<Guarded>
    /// The reply that is answered when no handler runs, or the limit has passed.
    let idle = Reply<Void>()

    init(
        _ configuration: AMQPConsumer.Configuration,
        _ clock: ClientClock,
        _ logger: Logger,
        _ meter: ConsumerMeter?,
        _ handler: @escaping Handler
    ) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.meter = meter
        self.handler = handler
        self.guarded = Mutex(
            Guarded(
                state: ConsumerState(configuration.limits),
                memory: AttemptMemory(limit: configuration.rememberedMessages)
            )
        )
    }

    var isOpen: Bool { self.guarded.withLock { $0.state.phase == .open } }

    /// The counts so far.
    var result: AMQPConsumerResult {
        self.guarded.withLock { guarded in
            var result = guarded.result
            let counts = guarded.state.counts
            result.handled = counts.handled
            result.retried = counts.retried
            result.threw = counts.threw
            result.timedOut = counts.timedOut
            let fates = result.accepted + result.failed + result.rejected + result.released
            result.inProgress = result.received - fates - result.byApplication - result.stale
            if guarded.state.phase == .over { result.unfinished = guarded.state.heldCount }
            result.dropped += guarded.receiver?.droppedDeliveries ?? 0
            return result
        }
    }

    // MARK: Events

    /// Accepts a message, and begins to handle it or lets it wait.
    func arrive(_ delivery: AMQPDelivery, from link: AMQPReceiver?) {
        let envelope = ConsumerEnvelope(delivery.payload)
        let lane = self.configuration.order.lane(of: delivery, envelope)
        let staysHere =
            !delivery.isStreamed && (lane != nil || envelope.streamOffset != nil || delivery.isSettled)
        self.change { guarded in
            guarded.result.received += 1
            let id = guarded.nextID
            guarded.nextID += 1
            guarded.entries[id] = Entry(delivery: delivery, link: link, envelope: envelope)
            if let offset = envelope.streamOffset {
                guarded.nextOffset = max(guarded.nextOffset ?? 0, offset == .max ? offset : offset + 1)
            }
            var before = envelope.failures
            if !envelope.isFirst, !guarded.memory.isEmpty {
                before = max(before, guarded.memory.take(envelope.identity))
            }
            let arrival = ConsumerState.Arrival(id: id, lane: lane, attempt: before + 1, staysHere: staysHere)
            return .arrived(arrival)
        }
    }

    func handle(_ event: ConsumerState.Event, _ error: (any Error)? = nil) {
        self.change { guarded in
            if case .threw(let id) = event { guarded.entries[id]?.error = error }
            if case .overran(let id, _) = event {
                guarded.entries[id]?.error = AMQPError(
                    condition: .internalError,
                    detail: "the handler did not finish within \(self.configuration.timeout ?? .zero)"
                )
            }
            return event
        }
    }

    /// Carries out the application's decision, unless the message is already decided.
    func decide(_ id: ID, attempt: Int, _ decision: (AMQPDelivery) -> AMQPSettlement) -> AMQPSettlement {
        self.guarded.withLock { guarded in
            guard
                guarded.state.handle(.decided(id, attempt: attempt), at: self.clock.now)
                    .contains(.settle(id, .application)),
                let entry = guarded.entries[id]
            else { return .stale }
            let settlement = decision(entry.delivery)
            guarded.result.count(.application, entry.awaitsDecision ? settlement : .queued)
            return settlement
        }
    }

    // MARK: Actions

    private func change(_ event: (inout Guarded) -> ConsumerState.Event) {
        let aftermath = self.guarded.withLock { guarded in
            let event = event(&guarded)
            return self.perform(guarded.state.handle(event, at: self.clock.now), &guarded)
        }
        self.finish(aftermath)
    }

    /// Grants the first credit.
    func open(_ receiver: AMQPClient.Receiver) {
        let aftermath = self.guarded.withLock { guarded in
            guarded.receiver = receiver
            return self.perform(guarded.state.open(), &guarded)
        }
        self.finish(aftermath)
    }

    private func finish(_ aftermath: Aftermath) {
        for task in aftermath.cancelled { task.cancel() }
        for error in aftermath.rejected {
            self.logger.warning(
                "a message was rejected after its last attempt",
                metadata: [
                    "amqp.address": "\(self.configuration.receiver.source.address ?? "")", "amqp.error": "\(error)",
                ]
            )
        }
        aftermath.room?.resolve(.success(()))
        self.meter?.update(self.result)
        if aftermath.isIdle { self.idle.resolve(.success(())) }
    }

    private func perform(_ first: [ConsumerState.Action], _ guarded: inout Guarded) -> Aftermath {
        var aftermath = Aftermath()
        var (actions, index) = (first, 0)
        while index < actions.count {
            defer { index += 1 }
            switch actions[index] {
            case .run(let id, let attempt):
                if guarded.entries[id]?.isStale == true {
                    guarded.result.stale += 1
                    actions += guarded.state.handle(.dropped(id), at: self.clock.now)
                } else {
                    self.start(id, attempt, &guarded)
                }
            case .delay(let id, let time):
                guarded.entries[id]?.task = Task {
                    do { try await self.clock.sleep(for: time) } catch { return }
                    self.handle(.due(id))
                }
            case .cancel(let id):
                if let task = guarded.entries[id]?.task { aftermath.cancelled.append(task) }
            case .settle(let id, let decision):
                if let error = self.settle(id, decision, &guarded) { aftermath.rejected.append(error) }
            case .forget(let id):
                if let timer = guarded.entries.removeValue(forKey: id)?.timer { aftermath.cancelled.append(timer) }
            case .grant(let credit): guarded.receiver?.grant(credit: credit)
            case .idle: aftermath.isIdle = true
            }
        }
        if guarded.state.hasRoom || guarded.state.phase != .open {
            aftermath.room = guarded.room
            guarded.room = nil
        }
        return aftermath
    }

    private func start(_ id: ID, _ attempt: Int, _ guarded: inout Guarded) {
        guard let delivery = guarded.entries[id]?.delivery else { return }
        guarded.entries[id]?.attempt = attempt
        let isLast = self.configuration.attempts.map { attempt >= $0 } ?? false
        let job = AMQPConsumer.Delivery(delivery, self, id, attempt: attempt, isLast: isLast)
        guarded.entries[id]?.timer?.cancel()
        guarded.entries[id]?.timer = self.configuration.timeout.map { time in
            Task {
                do { try await self.clock.sleep(for: time) } catch { return }
                self.handle(.overran(id, attempt: attempt))
            }
        }
        guarded.entries[id]?.task = Task {
            let start = self.clock.now
            do {
                try await self.handler(job)
                self.meter?.returned(after: self.clock.now - start)
                self.handle(.returned(id))
            } catch {
                self.meter?.returned(after: self.clock.now - start)
                self.handle(.threw(id), error)
            }
        }
    }

    /// Settles and counts a message. Returns the reason if it was rejected.
    private func settle(_ id: ID, _ decision: ConsumerState.Decision, _ guarded: inout Guarded) -> AMQPError? {
        guard let entry = guarded.entries[id] else { return nil }
        let (settlement, reason): (AMQPSettlement, AMQPError?) =
            switch decision {
            case .accept: (entry.delivery.accept(), nil)
            case .fail: (entry.delivery.modify(AMQPModified(deliveryFailed: true)), nil)
            case .release: (entry.delivery.release(), nil)
            case .reject: Self.reject(entry)
            case .application: (.stale, nil)
            }
        guarded.result.count(decision, entry.awaitsDecision ? settlement : .queued)
        // A message that returns because its link is lost was handled too.
        if decision == .fail, entry.awaitsDecision {
            guarded.memory.note(entry.envelope.identity, attempts: entry.attempt)
        }
        return settlement == .queued ? reason : nil
    }

    private static func reject(_ entry: Entry) -> (AMQPSettlement, AMQPError?) {
        var reason = AMQPError(condition: .internalError, detail: "the handler failed \(entry.attempt) times")
        switch entry.error {
        case let error as AMQPError where !error.condition.isLocal: reason = error
        case let error?: reason.detail = "\(error)"
        case nil: break
        }
        return (entry.delivery.reject(reason), reason)
    }
}

extension AMQPConsumerResult {
    fileprivate mutating func count(_ decision: ConsumerState.Decision, _ settlement: AMQPSettlement) {
        guard settlement == .queued else {
            self.stale += 1
            return
        }
        switch decision {
        case .accept: self.accepted += 1
        case .fail: self.failed += 1
        case .reject: self.rejected += 1
        case .release: self.released += 1
        case .application: self.byApplication += 1
        }
    }
}
