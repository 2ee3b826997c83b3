#if ServiceLifecycle
    internal import ServiceLifecycle
#endif

/// Runs a call, and calls a handler once if the service group of the task asks it to shut down. That may come before the
/// call begins.
///
/// Without the trait `ServiceLifecycle` there is no group, and no call of the handler.
///
/// - Parameter onShutdown: Called behind a lock of the group: it must not wait.
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
