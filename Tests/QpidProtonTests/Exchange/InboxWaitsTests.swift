// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The tasks that wait for messages, the end of an inbox, and the counts that it reports.
@Suite(.deadline)
struct InboxWaitsTests {
    /// The waits of one inbox, shared by the waiting tasks.
    private final class Box: Sendable {
        let waits = Mutex(InboxWaits<Int>())

        func wait() -> Begun<Result<Int?, AMQPError>> {
            begin {
                await withWaitingTask { task in
                    self.waits.withLock { waits in waits.append(waits.makeID(), task) }
                }
            }
        }
    }

    @Test func theFirstWaitingTaskReceivesTheMessage() async throws {
        let box = Box()
        let tasks = [box.wait(), box.wait()]
        let resumption = try #require(box.waits.withLock { $0.serve(5) })
        // No task resumes while the lock is held.
        #expect(!tasks[0].isDone)
        resumption.resume()
        #expect(try await tasks[0].value == .success(5))
        #expect(box.waits.withLock { !$0.contains(1) && $0.contains(2) && !$0.isEmpty })
        box.waits.withLock { $0.serve(6) }?.resume()
        #expect(try await tasks[1].value == .success(6))
        #expect(box.waits.withLock { $0.isEmpty && $0.serve(7) == nil })
    }

    @Test func aRemovedTaskReceivesNoMessage() async throws {
        let box = Box()
        let tasks = [box.wait(), box.wait()]
        box.waits.withLock { $0.remove(1) }?.resume(returning: .failure(.cancelled))
        #expect(try await tasks[0].value == .failure(.cancelled))
        #expect(box.waits.withLock { $0.remove(1) } == nil)
        box.waits.withLock { $0.serve(9) }?.resume()
        #expect(try await tasks[1].value == .success(9))
    }

    @Test func theFirstEndStaysAndEndsAllWaits() async throws {
        let box = Box()
        let tasks = [box.wait(), box.wait()]
        #expect(box.waits.withLock { !$0.hasEnded })
        box.waits.withLock { $0.finish(.success(nil)) }.forEach { $0.resume(returning: .success(nil)) }
        for task in tasks { #expect(try await task.value == .success(nil)) }
        let (isEmpty, end) = box.waits.withLock { ($0.finish(.failure(.cancelled)).isEmpty, $0.end) }
        #expect(isEmpty && end == .success(nil))
        #expect(box.waits.withLock { $0.hasEnded && $0.isEmpty })
    }

    @Test func unreportedMessagesAreReportedAtTheThreshold() {
        var waits = InboxWaits<Int>()
        #expect(waits.takeUnreported(least: 3) == 0 && waits.takeUnreported() == 0)
        waits.unreported = 2
        #expect(waits.takeUnreported(least: 3) == 0 && waits.unreported == 2)
        waits.unreported = 3
        #expect(waits.takeUnreported(least: 3) == 3 && waits.unreported == 0)
        waits.unreported = 1
        #expect(waits.takeUnreported() == 1 && waits.takeUnreported() == 0)
    }
}
