// SPDX-License-Identifier: Apache-2.0

#if THREAD_SANITIZER
    internal import NIOConcurrencyHelpers

    /// A task that waits for one answer. If it is resumed before it waits, the thread sanitizer misses the order and
    /// would report races on the answer's references. A lock makes the order visible.
    struct WaitingTask<Answer: Sendable>: Sendable {
        fileprivate let continuation: CheckedContinuation<Answer, Never>
        fileprivate let order: NIOLock

        func resume(returning answer: Answer) {
            self.order.withLock {}
            self.continuation.resume(returning: answer)
        }
    }
#elseif DEBUG
    /// A task that waits for one answer. Debug builds detect a second or a missing resume.
    typealias WaitingTask<Answer> = CheckedContinuation<Answer, Never>
#else
    /// A task that waits for one answer. The layout of the checked kind is determined only at run time, so each copy of
    /// its holder would read metadata.
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
