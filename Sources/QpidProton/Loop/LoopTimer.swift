// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// Work that a loop runs at a time, unless it was cancelled.
///
/// NIO dequeues all due work before it runs the first item. Work that was cancelled by other due work would run
/// nevertheless, for an endpoint that may have ended.
struct LoopTimer: Sendable {
    private final class Mark: Sendable {
        let isCancelled = Atomic(false)
    }

    private let mark: Mark
    private let scheduled: Scheduled<Void>

    /// Schedules the work. Call it on the loop.
    init(on eventLoop: any EventLoop, at deadline: NIODeadline, _ work: @escaping () -> Void) {
        let mark = Mark()
        self.mark = mark
        self.scheduled = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            if !mark.isCancelled.load(ordering: .relaxed) { work() }
        }
    }

    /// Runs work on the loop of a connection after a duration, and then pumps the connection.
    init(of handler: ConnectionHandler, in duration: Duration, _ work: @escaping () -> Void) {
        self.init(of: handler, at: handler.deadline(in: duration), work)
    }

    /// Runs work on the loop of a connection at a time, and then pumps the connection.
    init(of handler: ConnectionHandler, at deadline: NIODeadline, _ work: @escaping () -> Void) {
        // The timer holds the handler strongly. A weak reference would slow down every later reference count of the
        // handler.
        self.init(on: handler.eventLoop, at: deadline) {
            guard !handler.isDead else { return }
            // Update the time first, because the work may end a block that started earlier.
            handler.now = handler.nanoseconds
            work()
            handler.pump()
        }
    }

    /// Cancels the work. After a call on the loop, the work never starts.
    func cancel() {
        self.mark.isCancelled.store(true, ordering: .relaxed)
        self.scheduled.cancel()
    }
}
