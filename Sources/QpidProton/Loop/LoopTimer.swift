internal import NIOCore
internal import Synchronization

/// Work that a loop runs at a time, unless it is cancelled before.
///
/// NIO takes all work that is due off its queue before it runs any of it: what is cancelled by work of the same time would
/// run nevertheless, for an endpoint that may be gone.
struct LoopTimer: Sendable {
    private final class Mark: Sendable {
        let isCancelled = Atomic(false)
    }

    private let mark: Mark
    private let scheduled: Scheduled<Void>

    /// To be called on the loop.
    init(on eventLoop: any EventLoop, at deadline: NIODeadline, _ work: @escaping () -> Void) {
        let mark = Mark()
        self.mark = mark
        self.scheduled = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            if !mark.isCancelled.load(ordering: .relaxed) { work() }
        }
    }

    /// The work does not begin any more, once this was called on the loop.
    func cancel() {
        self.mark.isCancelled.store(true, ordering: .relaxed)
        self.scheduled.cancel()
    }
}
