// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Runs tasks on the thread that calls ``runRound()``, so that counts repeat.
final class JobQueue: TaskExecutor {
    private struct State {
        var waiting: [UnownedJob] = []
        var running: [UnownedJob] = []
    }

    private let state = Mutex(State())

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.state.withLock { $0.waiting.append(job) }
    }

    /// Runs the waiting jobs; jobs that these enqueue wait for the next round. Returns whether there were any.
    func runRound() -> Bool {
        let count = self.state.withLock { state in
            swap(&state.waiting, &state.running)
            return state.running.count
        }
        for index in 0..<count {
            let job = self.state.withLock { $0.running[index] }
            job.runSynchronously(on: self.asUnownedTaskExecutor())
        }
        self.state.withLock { $0.running.removeAll(keepingCapacity: true) }
        return count > 0
    }
}
