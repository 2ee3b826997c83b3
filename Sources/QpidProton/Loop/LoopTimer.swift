// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// Work that a loop runs at a time, unless it is cancelled before.
///
/// NIO dequeues all due work before it runs any. Work that was cancelled by other due work would run nevertheless, for
/// an endpoint that may have ended.
struct LoopTimer: Sendable {
    private final class Mark: Sendable {
        let isCancelled = Atomic(false)
    }

    private let mark: Mark
    private let scheduled: Scheduled<Void>

    /// Call it on the loop.
    init(on eventLoop: any EventLoop, at deadline: NIODeadline, _ work: @escaping () -> Void) {
        let mark = Mark()
        self.mark = mark
        self.scheduled = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            if !mark.isCancelled.load(ordering: .relaxed) { work() }
        }
    }

    /// The work does not start any more after a call on the loop.
    func cancel() {
        self.mark.isCancelled.store(true, ordering: .relaxed)
        self.scheduled.cancel()
    }
}
