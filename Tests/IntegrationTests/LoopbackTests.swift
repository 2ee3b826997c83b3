// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)))
struct LoopbackTests {
    @Test func sendsAndReceives() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        async let served: Int = {
            var count = 0
            for try await connection in listener {
                for try await wish in connection.incoming {
                    switch wish {
                    case .session(let session): try await session.accept()
                    case .sender(let sender):
                        sender.refuse(AMQPError(scope: .link, condition: .notAllowed, detail: "receivers only"))
                    case .receiver(let incoming):
                        let receiver = try await incoming.accept()
                        for try await delivery in receiver {
                            #expect(try delivery.decodeMessage().bodyString == "message \(count)")
                            delivery.accept()
                            count += 1
                        }
                    }
                }
                break
            }
            return count
        }()
        try await AMQPConnection.withConnection(to: "amqp://127.0.0.1:\(listener.port)") { connection in
            let session = try await connection.openSession()
            await #expect(throws: AMQPError.self) { _ = try await session.openReceiver(from: "there") }
            let sender = try await session.openSender(to: "here")
            for index in 0..<10 {
                let outcome = try await sender.send(AMQPMessage(body: "message \(index)"))
                #expect(outcome == .accepted)
            }
            var transfers: [AMQPTracker] = []
            for index in 10..<5_000 {
                transfers.append(try await sender.enqueue(AMQPMessage(body: "message \(index)")))
            }
            for transfer in transfers { #expect(try await transfer.outcome() == .accepted) }
            #expect(session.outgoingBytes == 0)
            try await sender.close().check()
        }
        #expect(try await served == 5_000)
    }

    @Test func aCancelledTaskReceivesNoFurtherConnection() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        let url = "amqp://127.0.0.1:\(listener.port)"
        let clients = [try await AMQPConnection.connect(to: url), try await AMQPConnection.connect(to: url)]
        let cancelled = Task {
            let connections = listener.makeAsyncIterator()
            let first = try await connections.next(isolation: nil)
            withUnsafeCurrentTask { $0?.cancel() }
            do throws(AMQPError) {
                _ = try await connections.next(isolation: nil)
                Issue.record("a cancelled task got another connection")
            } catch {
                #expect(error.condition == .cancelled)
            }
            return first
        }
        let first = try await cancelled.value
        let second = try await listener.makeAsyncIterator().next(isolation: nil)
        #expect(first != nil && second != nil)
        for client in clients { try await client.close().check() }
        await listener.close()
    }
}
