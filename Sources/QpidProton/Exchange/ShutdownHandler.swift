// SPDX-License-Identifier: Apache-2.0

#if ServiceLifecycle
    internal import ServiceLifecycle
#endif

/// Runs a call. Calls a handler once if the service group of the task requests a graceful shutdown, possibly before the
/// call starts.
///
/// Without the trait `ServiceLifecycle` there is no group, and the handler is never called.
///
/// - Parameter onShutdown: Called under a lock of the group, so it must not wait.
func withShutdownHandler<Value: Sendable>(
    _ call: () async throws(AMQPError) -> Value,
    onShutdown: @escaping @Sendable () -> Void
) async throws(AMQPError) -> Value {
    #if ServiceLifecycle
        let result: Result<Value, AMQPError> = await withGracefulShutdownHandler {
            do throws(AMQPError) { return .success(try await call()) } catch { return .failure(error) }
        } onGracefulShutdown: {
            onShutdown()
        }
        return try result.get()
    #else
        return try await call()
    #endif
}
