/// The clock of a client: durations since its start.
struct ClientClock: Sendable {
    private let start = ContinuousClock.now

    var now: Duration { ContinuousClock.now - self.start }

    /// Suspends until a time. Cancellation ends it with an error.
    func sleep(until time: Duration) async throws {
        try await Task.sleep(until: self.start + time, clock: .continuous)
    }
}
