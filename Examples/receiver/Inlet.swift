// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton

/// The source of messages: the link of one connection, or a client's receiver, which outlives its links.
protocol Inlet: AnyObject, Sendable {
    /// The current link; `nil` during an outage.
    var link: AMQPReceiver? { get }
    /// The error that ended the inlet for good; `nil` while it can continue.
    var error: AMQPError? { get }
    /// Whether the peer sends an unsettled message again on another link.
    var outlivesLinks: Bool { get }

    func next() async throws(AMQPError) -> AMQPDelivery?
    func nextBatch(max count: Int) async throws(AMQPError) -> [AMQPDelivery]
    func poll() -> AMQPDelivery?
    func receive(timeout: Duration) async throws(AMQPError) -> AMQPDelivery?
    func grant(credit: Int)
}

extension AMQPReceiver: Inlet {
    var link: AMQPReceiver? { self }
    var outlivesLinks: Bool { false }
}

extension AMQPClient.Receiver: Inlet {
    var outlivesLinks: Bool { true }
}

extension Inlet {
    /// How long a peer may take to answer the drain that ends a wait.
    private static var answerLimit: Duration { .seconds(1) }

    /// Returns the next message; `nil` if none arrives within the limit, even if the peer does not answer the drain.
    ///
    /// An outage does not count as a wait for a message: the limit begins again with the next link.
    func receive(within limit: Duration) async throws -> AMQPDelivery? {
        while true {
            do {
                return try await self.receiveOnce(within: limit)
            } catch let error as AMQPError where error.condition == .timeout && self.outlivesLinks && self.error == nil
            {
                continue
            }
        }
    }

    private func receiveOnce(within limit: Duration) async throws -> AMQPDelivery? {
        try await withThrowingTaskGroup(of: AMQPDelivery??.self) { group in
            group.addTask {
                do throws(AMQPError) {
                    return .some(try await self.receive(timeout: limit))
                } catch {
                    guard error.condition == .cancelled else { throw error }
                    return nil
                }
            }
            group.addTask {
                try? await Task.sleep(for: limit + Self.answerLimit)
                return nil
            }
            var found: AMQPDelivery?
            while let result = try await group.next() {
                if case .some(let delivery) = result { found = delivery }
                // A message that arrived before the cancellation is returned.
                group.cancelAll()
            }
            if found == nil { try Task.checkCancellation() }
            return found
        }
    }
}
