// SPDX-License-Identifier: Apache-2.0

#if THREAD_SANITIZER
    // This import has the lock that the sanitizer supports.
    @testable import QpidProton
#else
    import Synchronization
#endif

/// Keeps the jobs of the model's tasks until the model runs them, so that a seed reproduces the same schedule.
final class ModelExecutor: TaskExecutor {
    private let jobs = Mutex<[UnownedJob]>([])

    var isEmpty: Bool { self.jobs.withLock { $0.isEmpty } }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.jobs.withLock { $0.append(job) }
    }

    /// Runs all jobs, and the jobs that they create.
    func drain() {
        while true {
            let jobs = self.jobs.withLock { jobs in
                defer { jobs = [] }
                return jobs
            }
            guard !jobs.isEmpty else { return }
            for job in jobs { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
    }
}

/// A call that may wait. Its task runs on the event loop's thread, when the model runs its jobs.
// Sendable because all mutable state is used on the event loop only.
final class ModelCall: @unchecked Sendable {
    let name: String
    var isDone = false
    var isCancelled = false
    fileprivate(set) var task: Task<Void, Never>?

    init(_ name: String) {
        self.name = name
    }

    func cancel() {
        self.isCancelled = true
        self.task?.cancel()
    }

    func start(on executor: ModelExecutor, _ body: @escaping @Sendable (ModelCall) async -> Void) {
        self.task = Task(executorPreference: executor) {
            await body(self)
            self.isDone = true
            self.task = nil
        }
        executor.drain()
    }
}

/// A violated invariant.
struct ModelFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
