#if THREAD_SANITIZER
    internal import NIOConcurrencyHelpers

    /// A task that waits for one answer. The thread sanitizer does not see the order of two threads where the task is
    /// resumed before it has come to wait, and would take all that the answer refers to for races: a lock shows it.
    struct WaitingTask<Answer: Sendable>: Sendable {
        fileprivate let continuation: CheckedContinuation<Answer, Never>
        fileprivate let order: NIOLock

        func resume(returning answer: Answer) {
            self.order.withLock {}
            self.continuation.resume(returning: answer)
        }
    }
#elseif DEBUG
    /// A task that waits for one answer. Debug builds find out when it is resumed twice or forgotten.
    typealias WaitingTask<Answer> = CheckedContinuation<Answer, Never>
#else
    /// A task that waits for one answer. The layout of the checked kind is not known before the program runs: what holds
    /// it is then copied by way of its metadata, which are looked up each time.
    typealias WaitingTask<Answer> = UnsafeContinuation<Answer, Never>
#endif

/// Suspends the task until it is resumed with the answer, exactly once.
@inline(__always)
func withWaitingTask<Answer: Sendable>(_ body: (WaitingTask<Answer>) -> Void) async -> Answer {
    #if THREAD_SANITIZER
        let order = NIOLock()
        defer { order.withLock {} }
        return await withCheckedContinuation { body(WaitingTask(continuation: $0, order: order)) }
    #elseif DEBUG
        await withCheckedContinuation(body)
    #else
        await withUnsafeContinuation(body)
    #endif
}
