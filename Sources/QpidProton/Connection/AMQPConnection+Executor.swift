// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension AMQPConnection {
    /// An executor that runs tasks on the connection's event loop. Pass it to `withTaskExecutorPreference`.
    ///
    /// A task that sends or receives much and computes little runs faster there, because no data crosses threads. Code
    /// that runs there must not block: no connection of the event loop makes progress until that code suspends. The
    /// event loop must outlive the tasks.
    public var taskExecutor: any TaskExecutor { EventLoopTaskExecutor(eventLoop: self.parts.channel.eventLoop) }
}

private final class EventLoopTaskExecutor: TaskExecutor {
    private let eventLoop: any EventLoop

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.eventLoop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
