#if DEBUG
    /// A task that waits for one answer. Debug builds find out when it is resumed twice or forgotten.
    typealias WaitingTask<Answer> = CheckedContinuation<Answer, Never>
#else
    /// A task that waits for one answer. The layout of the checked kind is not known before the program runs: what holds
    /// it is then copied by way of its metadata, which are looked up each time.
    typealias WaitingTask<Answer> = UnsafeContinuation<Answer, Never>
#endif

/// Suspends the task until it is resumed with the answer, exactly once.
@inline(__always)
func withWaitingTask<Answer>(_ body: (WaitingTask<Answer>) -> Void) async -> Answer {
    #if DEBUG
        await withCheckedContinuation(body)
    #else
        await withUnsafeContinuation(body)
    #endif
}
