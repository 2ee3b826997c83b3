// SPDX-License-Identifier: Apache-2.0

internal import QpidProton
internal import Synchronization

/// Runs `body` in a separate task, which is cancelled at the limit or with the caller.
///
/// - Parameters:
///   - limit: The time for `body`.
///   - text: The text of the error at the limit.
/// - Throws: `timeout` at the limit; otherwise the error of `body`.
func within<Value: Sendable>(
    _ limit: Duration,
    _ text: @autoclosure () -> String,
    _ body: @escaping @Sendable () async throws(AMQPError) -> Value
) async throws(AMQPError) -> Value {
    let mark = TimeMark()
    let work = Task { () async -> Result<Value, AMQPError> in
        do throws(AMQPError) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }
    let timer = Task {
        guard (try? await Task.sleep(for: limit)) != nil else { return }
        mark.isOver.store(true, ordering: .relaxed)
        work.cancel()
    }
    defer { timer.cancel() }
    let result = await withTaskCancellationHandler {
        await work.value
    } onCancel: {
        work.cancel()
    }
    if case .failure = result, mark.isOver.load(ordering: .relaxed) {
        throw AMQPError(condition: .timeout, detail: text())
    }
    return try result.get()
}

private final class TimeMark: Sendable {
    let isOver = Atomic(false)
}
