/// Runs the parts of a lifetime that is a scope.
enum Scope {
    /// Runs `body`, then `finally`, which a cancellation of the task does not reach. An error of `body` goes first.
    static func run<Result>(
        _ body: () async throws -> Result,
        finally: @escaping @Sendable () async throws -> Void
    ) async throws -> Result {
        let result: Result
        do {
            result = try await body()
        } catch {
            _ = await Task { try? await finally() }.value
            throw error
        }
        try await Task { try await finally() }.value
        return result
    }
}
