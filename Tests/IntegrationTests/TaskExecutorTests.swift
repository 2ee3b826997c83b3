// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import QpidProton
import TestSupport
import Testing

/// Tasks on the event loop of their connection. They send and receive there, and the connection makes progress between
/// their steps.
@Suite struct TaskExecutorTests {
    private static let count = 20_000

    @Test func tasksRunOnTheEventLoop() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        try await TestListener.with { listener in
            var configuration = AMQPConnection.Configuration()
            configuration.eventLoopGroup = group
            let connection = try await AMQPConnection.connect(to: listener.url, configuration: configuration)
            #expect(!loop.inEventLoop)
            let (sent, places) = try await withTaskExecutorPreference(connection.taskExecutor) {
                let sender = try await connection.openSession().openSender(to: "queue")
                var places: Set<Bool> = [loop.inEventLoop]
                var transfers: [AMQPTracker] = []
                for number in 0..<Self.count {
                    transfers.append(try await sender.enqueue(AMQPMessage(body: "\(number)")))
                    places.insert(loop.inEventLoop)
                }
                var accepted = 0
                for transfer in transfers where try await transfer.outcome() == .accepted { accepted += 1 }
                places.insert(loop.inEventLoop)
                try await sender.close().check()
                return (accepted, places)
            }
            #expect(sent == Self.count)
            #expect(places == [true])
            let received = try listener.deliveries.map { try $0.decodeMessage().bodyString }
            #expect(received == (0..<Self.count).map { "\($0)" })
            try await connection.close().check()
        }
        try await group.shutdownGracefully()
    }

    @Test func aTaskReceivesOnTheEventLoop() async throws {
        let messages = (0..<Self.count).map { AMQPMessage(body: "\($0)") }
        try await TestListener.with(offering: messages) { listener in
            let connection = try await AMQPConnection.connect(to: listener.url)
            let received = try await withTaskExecutorPreference(connection.taskExecutor) {
                let receiver = try await connection.openSession().openReceiver(from: "queue")
                var received: [String?] = []
                while received.count < Self.count {
                    let batch = try await within("a batch") { try await receiver.nextBatch(max: 100) }
                    received += try batch.map { try $0.decodeMessage().bodyString }
                    batch.acceptAll()
                }
                return received
            }
            #expect(received == (0..<Self.count).map { "\($0)" })
            try await connection.close().check()
        }
    }
}
