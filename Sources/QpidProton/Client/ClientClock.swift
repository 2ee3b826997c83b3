// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix

/// The clock of a client: durations since its start.
struct ClientClock: Sendable {
    private let start = ContinuousClock.now
    /// The event loops on which the timers run.
    private let loops: any EventLoopGroup

    init(_ loops: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton) { self.loops = loops }

    var now: Duration { ContinuousClock.now - self.start }

    /// Returns the rest of a limit. Only a limit of zero leaves zero, because a link or connection then waits
    /// `operationTimeout` for the peer's answer.
    func left(of limit: Duration, until deadline: Duration) -> Duration {
        limit <= .zero ? .zero : max(.milliseconds(1), deadline - self.now)
    }

    /// Suspends until a time. Throws if the task is cancelled.
    func sleep(until time: Duration) async throws { try await self.sleep(for: time - self.now) }

    /// Suspends for a time. Throws if the task is cancelled, or the loops have shut down.
    ///
    /// A cancelled timer of an event loop leaves nothing. For a cancelled `Task.sleep`, the runtime keeps a task until
    /// the time has passed, which may be minutes for each message.
    func sleep(for time: Duration) async throws {
        let reply = Reply<Void>()
        let timer = self.loops.any().scheduleTask(in: .nanoseconds(time.nanoseconds)) {}
        timer.futureResult.whenComplete { reply.resolve($0.mapError { _ in .cancelled }) }
        defer { timer.cancel() }
        try await reply.value()
    }
}

/// Runs a call and cancels it at a limit. Returns its value, and whether it reached the limit.
///
/// - Parameter limit: How long the call may take; `nil` for no limit.
func withLimit<Value: Sendable>(
    _ limit: Duration?,
    _ clock: ClientClock,
    _ call: @escaping @Sendable () async throws(AMQPError) -> Value
) async -> (result: Result<Value, AMQPError>, isLate: Bool) {
    let answer = await withTaskGroup(of: Result<Value, AMQPError>?.self) { group in
        group.addTask {
            do throws(AMQPError) { return .success(try await call()) } catch { return .failure(error) }
        }
        if let limit {
            group.addTask {
                try? await clock.sleep(for: limit)
                return nil
            }
        }
        var result: Result<Value, AMQPError>?
        for await answer in group {
            result = result ?? answer
            // The first answer cancels the other task.
            group.cancelAll()
        }
        return result ?? .failure(.cancelledWait)
    }
    guard case .failure(let error) = answer, error.condition == .cancelled else { return (answer, false) }
    return (answer, limit != nil && !Task.isCancelled)
}
