import Testing

/// Waits until a condition holds; records an issue when it does not within the deadline.
func eventually(
    _ what: String,
    deadline: Duration = .seconds(20),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + deadline
    while try await !condition() {
        guard ContinuousClock.now < end else {
            Issue.record("not within \(deadline): \(what)", sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// Begins a task that has run up to its first wait when this returns.
@discardableResult
func begin<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) -> Task<Value, any Error> {
    if #available(macOS 26.0, *) { return Task.immediate { try await body() } }
    return Task { try await body() }
}
