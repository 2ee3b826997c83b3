// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import Synchronization

#if ServiceLifecycle
    public import ServiceLifecycle

    extension AMQPListener: Service {}
#endif

extension AMQPListener {
    /// Stops accepting, and finishes the work of the accepted connections, within a limit.
    ///
    /// Each connection closes as with ``AMQPConnection/close(within:)``: first its receivers stop, then its senders
    /// send their accepted messages. Connections that no task has received close too. Any task may call this method,
    /// more than once: the shortest limit applies. Cancellation ends the remaining time.
    ///
    /// - Parameter limit: How long the whole close may take.
    /// - Returns: The unfinished work of all connections, and the first error.
    @discardableResult
    public func close(within limit: Duration) async -> AMQPCloseResult {
        await self.close()
        return await withTaskGroup(of: AMQPCloseResult.self) { group in
            for connection in self.accepted.all {
                group.addTask { await connection.close(within: limit) }
            }
            var all: [AMQPCloseResult] = []
            for await result in group { all.append(result) }
            return AMQPCloseResult(
                error: all.lazy.compactMap(\.error).first,
                unfinished: all.flatMap(\.unfinished),
                notSentBefore: all.reduce(0) { $0 + $1.notSentBefore },
                inDoubtBefore: all.reduce(0) { $0 + $1.inDoubtBefore }
            )
        }
    }

    /// Calls a handler for each connection, each in a separate task, and suspends until the listener is closed and all
    /// handlers have returned.
    ///
    /// To run the listener in a service group, put the call into a `ClosureService`. At a graceful shutdown of the
    /// group, the listener stops accepting, and closes its connections within ``Configuration/shutdownLimit``, as
    /// ``close(within:)`` does. This close ends the sequences that the handlers read. Then the listener cancels the
    /// handlers that have not returned, and logs the unfinished work.
    ///
    /// Cancellation closes the listener and its connections within 1 s, and cancels the handlers.
    ///
    /// - Parameter serve: Handles one connection, which closes when its last reference is released.
    public func run(_ serve: @escaping @Sendable (AMQPConnection) async -> Void) async {
        await self.run(
            Task {
                await withDiscardingTaskGroup { group in
                    while let connection = try? await self.next() {
                        group.addTask { await serve(connection) }
                    }
                }
            }
        )
    }

    /// Suspends until the listener is closed, while other tasks receive its connections.
    ///
    /// A graceful shutdown of a service group and a cancellation have the same effect as in ``run(_:)``. Receive the
    /// connections outside the group, for example in a separate task: a service that returns early ends the group.
    public func run() async { await self.run(Task { _ = await self.ended.finalAnswer() }) }

    /// Suspends until `work` has finished, and closes the listener at a shutdown or a cancellation.
    private func run(_ work: Task<Void, Never>) async {
        let closes = Mutex<[Task<Void, Never>]>([])
        let close: @Sendable (Duration) -> Void = { limit in
            let task = Task {
                let result = await self.close(within: limit)
                if let unfinished = result.summary {
                    self.logger.warning(
                        "a listener has closed with unfinished work",
                        metadata: .amqp([.detail: "\(unfinished)"], error: result.error)
                    )
                }
                work.cancel()
            }
            closes.withLock { $0.append(task) }
        }
        try? await withShutdownHandler {
            await withTaskCancellationHandler {
                await work.value
            } onCancel: {
                close(.seconds(1))
            }
        } onShutdown: {
            close(self.shutdownLimit)
        }
        for task in closes.withLock({ $0 }) { await task.value }
    }
}
