// SPDX-License-Identifier: Apache-2.0

extension AMQPSender {
    /// Sends messages in order and suspends until all are settled.
    ///
    /// - Parameters:
    ///   - messages: The messages.
    ///   - settled: Whether to send them settled; `nil` for the link's ``settleMode``.
    /// - Returns: One result per message, in order: the outcome, or the error if there is no outcome.
    public func send(contentsOf messages: [AMQPMessage], settled: Bool? = nil) async -> [Result<AMQPOutcome, AMQPError>]
    {
        var transfers: [Result<AMQPTracker, AMQPError>] = []
        transfers.reserveCapacity(messages.count)
        for message in messages {
            do {
                transfers.append(.success(try await self.enqueue(message, settled: settled)))
            } catch {
                transfers.append(.failure(error))
            }
        }
        var outcomes: [Result<AMQPOutcome, AMQPError>] = []
        outcomes.reserveCapacity(transfers.count)
        for transfer in transfers {
            do {
                outcomes.append(.success(try await self.settlement(of: transfer.get())))
            } catch {
                outcomes.append(.failure(error))
            }
        }
        return outcomes
    }

    /// Accepts messages in order, and suspends only until there is room for the last message.
    ///
    /// - Parameters:
    ///   - messages: The messages.
    ///   - settled: Whether to send them settled; `nil` for the link's ``settleMode``.
    /// - Returns: The trackers, in order.
    /// - Throws: The same errors as ``enqueue(_:settled:options:)``; the messages before the failed message have been
    ///   accepted.
    @discardableResult
    public func enqueue(
        contentsOf messages: [AMQPMessage],
        settled: Bool? = nil
    ) async throws(AMQPError) -> [AMQPTracker] {
        var transfers: [AMQPTracker] = []
        transfers.reserveCapacity(messages.count)
        for message in messages { transfers.append(try await self.enqueue(message, settled: settled)) }
        return transfers
    }

    /// Accepts messages in order until there is no more room. Never suspends.
    ///
    /// - Parameters:
    ///   - messages: The messages.
    ///   - settled: Whether to send them settled; `nil` for the link's ``settleMode``.
    /// - Returns: The trackers of the accepted messages, which are a prefix of `messages`.
    /// - Throws: The same errors as ``trySend(_:settled:options:)`` except for a lack of room, and only if no message
    ///   was accepted before.
    @discardableResult
    public func trySend(
        contentsOf messages: [AMQPMessage],
        settled: Bool? = nil
    ) throws(AMQPError) -> [AMQPTracker] {
        var transfers: [AMQPTracker] = []
        for message in messages {
            do {
                transfers.append(try self.trySend(message, settled: settled))
            } catch {
                if transfers.isEmpty, error.condition != .wouldBlock { throw error }
                break
            }
        }
        return transfers
    }
}
