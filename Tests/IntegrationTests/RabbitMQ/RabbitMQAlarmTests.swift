// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import QpidProtonRabbitMQ
import Synchronization
import TestSupport
import Testing

extension RabbitMQTests {
    /// The broker runs out of memory under load, raises an alarm, and later clears it.
    @Suite(.timeLimit(.minutes(20)))
    struct MemoryAlarm {
        /// The number of alarms, from `QPID_PROTON_RABBITMQ_ALARMS`.
        private static let rounds =
            ProcessInfo.processInfo.environment["QPID_PROTON_RABBITMQ_ALARMS"].flatMap(Int.init) ?? 3

        /// Sends numbered messages at full speed until `stop`, with pauses while `rest` is set.
        private static func sendFlatOut(
            _ sender: AMQPSender,
            _ account: OutcomeAccount,
            rest: Flag,
            stop: Flag
        ) async throws {
            while !stop.isSet {
                while rest.isSet, !stop.isSet { try await Task.sleep(for: .milliseconds(1)) }
                var message = AMQPMessage(body: "\(account.sent)")
                message.header.durable = true
                account.add(try await sender.enqueue(message))
            }
        }

        private final class Flag: Sendable {
            private let value = Atomic(false)
            var isSet: Bool { self.value.load(ordering: .relaxed) }
            func set(_ value: Bool = true) { self.value.store(value, ordering: .relaxed) }
        }

        @Test(arguments: [RabbitMQQueue.Kind.classic, .quorum])
        func nothingIsLost(_ kind: RabbitMQQueue.Kind) async throws {
            try await RabbitMQScene.with(limit: .seconds(900)) { scene in
                do {
                    try await Self.alarms(scene, kind)
                } catch {
                    _ = try? await scene.broker.control("set_vm_memory_high_watermark", "absolute", "2GB")
                    throw error
                }
            }
        }

        private static func alarms(_ scene: RabbitMQScene, _ kind: RabbitMQQueue.Kind) async throws {
            let queue = try await scene.declare(kind)
            let other = try await scene.declare()
            try await scene.fill(other, numbers: 0..<300 * self.rounds)
            let session = try await scene.connection.openSession()
            let sender = try await session.openSender(to: RabbitMQAddress.queue(queue))
            // The consumer uses the same connection. It prefetches little, so that the broker must continue to send.
            let receiver = try await scene.openReceiver(from: other, window: .messages(20))
            let events = Mutex<[AMQPFlowEvent]>([])
            let watching = Task {
                for await event in sender.flowEvents(after: .milliseconds(50)) { events.withLock { $0.append(event) } }
            }
            let account = OutcomeAccount()
            let (rest, stop) = (Flag(), Flag())
            let sending = Task { try await self.sendFlatOut(sender, account, rest: rest, stop: stop) }

            for round in 0..<self.rounds {
                let before = account.accepted
                rest.set(false)
                try await waitUntil("messages flow") { account.accepted > before + 500 }
                events.withLock { $0 = [] }
                try await scene.broker.control("set_vm_memory_high_watermark", "0")
                try await waitUntil("the window is closed") {
                    let window = try await session.snapshot().remoteIncomingWindow
                    return try await sender.snapshot().blockedBy == .remoteWindow && window <= 0
                }
                try await waitUntil("the event") {
                    events.withLock { events in
                        events.contains { event in
                            if case .blocked = event.kind { event.cause == .remoteWindow } else { false }
                        }
                    }
                }
                // Messages in flight are settled, and nothing follows them.
                let numbers = 300 * round..<300 * (round + 1)
                #expect(try await receiver.takeBodies(300) == numbers.map { "\($0)" })
                #expect(try await sender.snapshot().blockedBy == .remoteWindow)
                try await scene.broker.control("set_vm_memory_high_watermark", "absolute", "2GB")
                // Without the pause, fifty rounds would send millions of messages.
                rest.set()
                try await waitUntil("all of them accepted") { account.isComplete }
                #expect(session.error == nil && scene.connection.error == nil && account.other.isEmpty)
            }

            stop.set()
            try await sending.value
            try await waitUntil("every outcome") { account.isComplete }
            #expect(account.accepted == account.sent && account.other.isEmpty, "\(account.other.prefix(3))")
            watching.cancel()
            try await sender.close().check()
            // The queue contains every message once, in order.
            let reader = try await scene.openReceiver(from: queue)
            var expected = 0
            while expected < account.sent {
                for delivery in try await reader.nextBatch(max: 1_000) {
                    #expect(try delivery.decodeMessage().bodyString == "\(expected)")
                    expected += 1
                    delivery.accept()
                }
            }
            try await scene.expectEmpty(queue)
            print(
                "memory alarm: \(self.rounds) rounds, \(account.sent) messages to a \(kind) queue, all accepted, none lost"
            )
        }
    }
}
