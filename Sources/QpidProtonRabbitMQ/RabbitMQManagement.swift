// SPDX-License-Identifier: Apache-2.0

public import QpidProton

/// The management node of RabbitMQ 4, which declares, inspects and deletes queues, exchanges and bindings over a
/// connection.
///
/// Any number of tasks may send requests; the broker answers in order. A refusal throws an error with the broker's
/// text, and with the status in `info`. If the user lacks the permission for a request, the broker ends the session:
/// open another management.
///
/// Source: RabbitMQ's HTTP over AMQP 1.0, on a link pair ("AMQP Link Pair v1.0").
public actor RabbitMQManagement {
    /// The time limit of a call. It covers the wait for room to send the requests, and the broker's answers.
    public nonisolated let timeout: Duration
    private let session: AMQPSession
    private let sender: AMQPSender
    private let receiver: AMQPReceiver
    /// The topology that records declarations, bindings and deletions; `nil` for no recording.
    let topology: RabbitMQTopology?
    private var pending: [UInt64: Pending] = [:]
    private var lastID: UInt64 = 0
    private var ended: AMQPError?
    private var reader: Task<Void, Never>?

    /// A request with an outstanding answer. The answer may arrive before its task waits.
    private enum Pending {
        case asked
        case awaited(CheckedContinuation<Result<ManagementResponse, AMQPError>, Never>)
        case answered(Result<ManagementResponse, AMQPError>)
    }

    private init(
        _ session: AMQPSession,
        _ sender: AMQPSender,
        _ receiver: AMQPReceiver,
        _ timeout: Duration,
        _ topology: RabbitMQTopology?
    ) {
        self.session = session
        self.sender = sender
        self.receiver = receiver
        self.timeout = timeout
        self.topology = topology
    }

    deinit {
        self.reader?.cancel()
        let session = self.session
        Task { await session.close() }
    }

    // MARK: Lifetime

    /// Opens a separate session on a connection, with the two links to the management node.
    ///
    /// Suspends until the broker has attached both links. Cancellation abandons the session. The session ends when the
    /// last reference to the returned object is released.
    ///
    /// - Parameters:
    ///   - connection: A connection to RabbitMQ 4, which the management retains until its close.
    ///   - timeout: The time limit of each later call, including all its requests. The connection's `operationTimeout`
    ///     limits `open` itself.
    /// - Throws: `AMQPError`: `notImplemented` if the peer has no such node; otherwise the errors of `openSession`,
    ///   `openSender` and `openReceiver`.
    public static func open(
        on connection: AMQPConnection,
        timeout: Duration = .seconds(30)
    ) async throws(AMQPError) -> RabbitMQManagement {
        try await self.open(on: connection, timeout: timeout, recording: nil)
    }

    private static func open(
        on connection: AMQPConnection,
        timeout: Duration,
        recording topology: RabbitMQTopology?
    ) async throws(AMQPError) -> RabbitMQManagement {
        guard connection.peer.offeredCapabilities.contains("LINK_PAIR_V1_0") else {
            let text =
                "the peer offers no LINK_PAIR_V1_0, which its management needs: RabbitMQ 4.0 is the first that does"
            throw AMQPError(condition: .notImplemented, detail: text)
        }
        let limit = connection.configuration.operationTimeout
        return try await within(limit, "the broker did not open its management node within \(limit)") {
            () async throws(AMQPError) in try await self.openLinks(on: connection, timeout, topology)
        }
    }

    private static func openLinks(
        on connection: AMQPConnection,
        _ timeout: Duration,
        _ topology: RabbitMQTopology?
    ) async throws(AMQPError) -> RabbitMQManagement {
        let session = try await connection.openSession(.init(incomingCapacity: .mebibytes(1)))
        do {
            let name = "management-\(UInt64.random(in: .min ... .max))"
            // The window is unbounded because the broker ends the session if a request has no credit for its answer.
            // Only requested answers arrive.
            var receiving = AMQPReceiver.Configuration(source: "/management", window: .unbounded)
            receiving.target = "/management"
            var sending = AMQPSender.Configuration(target: "/management")
            sending.source = "/management"
            (receiving.name, sending.name) = (name, name)
            (receiving.properties, sending.properties) = ([.symbol("paired"): true], [.symbol("paired"): true])
            (receiving.senderSettleMode, sending.settleMode) = (.settled, .settled)
            let receiver = try await session.openReceiver(receiving)
            let sender = try await session.openSender(sending)
            let management = RabbitMQManagement(session, sender, receiver, timeout, topology)
            await management.start()
            return management
        } catch {
            let closing = Task { await session.close() }
            // After a timeout or a cancellation, the broker may not answer the close either.
            if error.condition != .timeout, error.condition != .cancelled { _ = await closing.value }
            throw error
        }
    }

    /// Runs `body` with the management node of a connection and closes it, also if `body` throws or the task is
    /// cancelled.
    ///
    /// The end of the scope waits for the broker's answer, at most for the connection's `operationTimeout`. In a
    /// cancelled task it waits at most one second.
    ///
    /// - Parameters:
    ///   - connection: A connection to RabbitMQ 4.
    ///   - timeout: The time limit of each call.
    ///   - body: The closure that uses the management.
    @discardableResult
    public static func withManagement<Result>(
        on connection: AMQPConnection,
        timeout: Duration = .seconds(30),
        _ body: (RabbitMQManagement) async throws -> Result
    ) async throws -> Result {
        try await self.withManagement(on: connection, timeout: timeout, recording: nil, body)
    }

    static func withManagement<Result>(
        on connection: AMQPConnection,
        timeout: Duration,
        recording topology: RabbitMQTopology?,
        _ body: (RabbitMQManagement) async throws -> Result
    ) async throws -> Result {
        let management = try await self.open(on: connection, timeout: timeout, recording: topology)
        let result: Result
        do {
            result = try await body(management)
        } catch {
            _ = try? await management.endScope()
            throw error
        }
        try await management.endScope()
        return result
    }

    /// Closes the management within `operationTimeout`, or within one second in a cancelled task.
    private nonisolated func endScope() async throws(AMQPError) {
        let operationTimeout = self.session.connection.configuration.operationTimeout
        let limit = Task.isCancelled ? min(operationTimeout, .seconds(1)) : operationTimeout
        let closing = Task { () async -> Result<Void, AMQPError> in
            do throws(AMQPError) {
                let text = "the broker did not answer the end of its management within \(limit)"
                return .success(
                    try await within(limit, text) { () async throws(AMQPError) in
                        if let error = await self.close().error { throw error }
                    }
                )
            } catch {
                return .failure(error)
            }
        }
        try await closing.value.get()
    }

    /// Ends the session. Unanswered requests fail with `closed`, although the broker may have executed them.
    ///
    /// Suspends until the broker has answered. A second call waits for the same answer. Cancellation ends only the
    /// wait.
    ///
    /// - Returns: The result of `AMQPSession.close(_:)`.
    @discardableResult
    public func close() async -> AMQPCloseResult {
        self.end(AMQPError(scope: .session, condition: .closed, detail: "the management of RabbitMQ was closed"))
        self.reader?.cancel()
        return await self.session.close()
    }

    private func start() {
        let receiver = self.receiver
        self.reader = Task { [weak self] in
            do throws(AMQPError) {
                while let delivery = try await receiver.next() {
                    delivery.accept()
                    guard let self else { return }
                    await self.take(delivery)
                }
                await self?.end(
                    AMQPError(
                        scope: .link,
                        condition: .closed,
                        detail: "the broker closed the link of its management"
                    )
                )
            } catch {
                await self?.end(error)
            }
        }
    }

    // MARK: Requests

    /// Sends a request and waits for the answer. Throws for a status other than success.
    ///
    /// - Parameter deadline: The end of the call's time; `timeout` from now if `nil`.
    @discardableResult
    func answer(
        to request: ManagementRequest,
        by deadline: ContinuousClock.Instant? = nil
    ) async throws(AMQPError) -> ManagementResponse {
        if let ended { throw ended }
        let deadline = deadline ?? self.deadline
        self.lastID += 1
        let id = self.lastID
        self.pending[id] = .asked
        let timer = Task { [timeout, weak self] in
            guard (try? await Task.sleep(until: deadline, clock: .continuous)) != nil else { return }
            let text = "the broker did not answer \(request.method.rawValue) \(request.path) within \(timeout)"
            await self?.resolve(id, .failure(AMQPError(condition: .timeout, detail: text)))
        }
        defer {
            timer.cancel()
            self.pending[id] = nil
        }
        try await self.enqueue(request.message(id: id), by: deadline)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if case .answered(let result) = self.pending[id] {
                    continuation.resume(returning: result)
                } else {
                    self.pending[id] = .awaited(continuation)
                }
            }
        } onCancel: {
            let text = "the task was cancelled; the broker may have carried out the request"
            Task { await self.resolve(id, .failure(AMQPError(condition: .cancelled, detail: text))) }
        }
        let response = try result.get()
        if let error = response.error { throw error }
        return response
    }

    /// The deadline of a call that starts now.
    var deadline: ContinuousClock.Instant { .now + self.timeout }

    /// Enqueues a request. The wait for room has the same deadline as the answer.
    private func enqueue(_ message: AMQPMessage, by deadline: ContinuousClock.Instant) async throws(AMQPError) {
        do {
            try self.sender.trySend(message)
            return
        } catch let error where error.condition != .wouldBlock {
            throw error
        } catch {
            // There is no room now: the call below waits for room.
        }
        let text = "the broker did not accept a request within \(self.timeout)"
        try await within(deadline - .now, text) { [sender] () async throws(AMQPError) in
            _ = try await sender.enqueue(message)
        }
    }

    private func take(_ delivery: AMQPDelivery) {
        // An unreadable message answers no request, so that request ends with its timeout.
        guard let message = try? delivery.decodeMessage(), let (id, result) = ManagementResponse.read(message) else {
            return
        }
        self.resolve(id, result)
    }

    private func resolve(_ id: UInt64, _ result: Result<ManagementResponse, AMQPError>) {
        switch self.pending[id] {
        case .asked: self.pending[id] = .answered(result)
        case .awaited(let continuation):
            self.pending[id] = .answered(result)
            continuation.resume(returning: result)
        case .answered, nil: break
        }
    }

    private func end(_ error: AMQPError) {
        if self.ended == nil { self.ended = error }
        for id in self.pending.keys { self.resolve(id, .failure(self.ended ?? error)) }
    }
}
