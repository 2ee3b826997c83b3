// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers
import NIOCore
import QpidProton
import QpidProtonRabbitMQ
import TestSupport
import Testing

extension RabbitMQTests {
    /// This broker ends a session whose flow names a link that it has just detached, so window renewals name no link
    /// here.
    @Suite(.timeLimit(.minutes(20)))
    struct Renewals {
        private static let rounds =
            ProcessInfo.processInfo.environment["QPID_PROTON_RABBITMQ_DELETIONS"].flatMap(Int.init)
            ?? (ProcessInfo.processInfo.environment["QPID_PROTON_LONG_TESTS"] == nil ? 30 : 1_000)

        @Test func aSessionSurvivesTheDeletionOfQueuesBesideAStream() async throws {
            try await RabbitMQScene.with(limit: .seconds(1_000)) { scene in
                let stream = try await scene.declare()
                // A small window is renewed several thousand times per second.
                let session = try await scene.connection.openSession(.init(incomingCapacity: .kibibytes(256)))
                let receiver = try await session.openReceiver(
                    from: RabbitMQAddress.queue(stream),
                    window: .messages(20)
                )
                let isOver = NIOLockedValueBox(false)
                let received = NIOLockedValueBox(0)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        let sender = try await scene.openSender(to: stream)
                        let message = AMQPMessage(body: Array(repeating: 7, count: 1 << 20))
                        while !isOver.withLockedValue({ $0 }) {
                            let outcomes = await sender.send(contentsOf: Array(repeating: message, count: 8))
                            #expect(outcomes.allSatisfy { $0 == .success(.accepted) })
                        }
                        try await sender.close().check()
                    }
                    group.addTask {
                        while !isOver.withLockedValue({ $0 }) {
                            guard let delivery = try await receiver.receive(timeout: .seconds(5)) else { continue }
                            #expect(delivery.payload.readableBytes > 1 << 20)
                            delivery.accept()
                            received.withLockedValue { $0 += 1 }
                        }
                    }
                    do {
                        for round in 0..<Self.rounds {
                            let queue = try await scene.declare()
                            let idle = try await session.openReceiver(
                                from: RabbitMQAddress.queue(queue),
                                window: .messages(5)
                            )
                            try await scene.management.deleteQueue(queue)
                            let error = try await failure(of: "round \(round)") { try await idle.next() }
                            #expect(error.scope == .link && error.condition == .resourceDeleted, "\(round): \(error)")
                            try #require(session.error == nil, "\(round)")
                        }
                    } catch {
                        isOver.withLockedValue { $0 = true }
                        throw error
                    }
                    isOver.withLockedValue { $0 = true }
                    try await group.waitForAll()
                }
                #expect(received.withLockedValue { $0 } > Self.rounds / 4)
                #expect(session.error == nil && scene.connection.error == nil)
            }
        }
    }
}
