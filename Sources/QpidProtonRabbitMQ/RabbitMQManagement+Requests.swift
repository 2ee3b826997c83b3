// SPDX-License-Identifier: Apache-2.0

public import QpidProton

// Each call suspends until the broker has answered, for at most `timeout`. The call throws the broker's refusal, the
// error that ended the links, or `timeout`. A cancelled call throws `cancelled`, and the broker may still execute the
// request.

extension RabbitMQManagement {
    // MARK: Queues

    /// Declares a queue, and suspends until the queue exists. The queue may already exist with the same properties.
    ///
    /// - Parameter queue: The queue.
    /// - Returns: The queue as the broker reports it.
    /// - Throws: `AMQPError`: `preconditionFailed` if the queue exists with other properties, `invalidField` for
    ///   arguments that the broker refuses, `notAllowed` for a reserved name. Further errors are the error that ended
    ///   the links, `timeout` and `cancelled`.
    @discardableResult
    public func declare(_ queue: RabbitMQQueue) async throws(AMQPError) -> RabbitMQQueueInfo {
        let request = try ManagementRequest(.put, "queues", queue.name, body: .map(queue.declaration))
        let answer = try await self.recording(.queue(queue)) { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
        return try RabbitMQQueueInfo(answer.map())
    }

    /// Returns the broker's information about a queue. Suspends until the broker has answered.
    ///
    /// - Parameter name: The unencoded name of the queue.
    /// - Throws: `AMQPError`: `notFound` if the queue does not exist. Further errors are the error that ended the
    ///   links, `timeout` and `cancelled`.
    public func queue(_ name: String) async throws(AMQPError) -> RabbitMQQueueInfo {
        try RabbitMQQueueInfo(try await self.answer(to: ManagementRequest(.get, "queues", name)).map())
    }

    /// Deletes a queue with its messages, and suspends until the broker has answered. The queue need not exist.
    ///
    /// The broker detaches links from the queue with `resourceDeleted`.
    ///
    /// - Parameter name: The unencoded name of the queue.
    /// - Returns: The number of deleted messages.
    /// - Throws: `AMQPError`: the broker's refusal, the error that ended the links, `timeout` and `cancelled`.
    @discardableResult
    public func deleteQueue(_ name: String) async throws(AMQPError) -> Int {
        let request = try ManagementRequest(.delete, "queues", name)
        return try await self.forgetting {
            $0.forgetQueue(name)
        } in: { () async throws(AMQPError) in
            try await self.answer(to: request)
        }.messageCount()
    }

    /// Deletes the messages of a queue that no consumer has received, and suspends until the broker has answered.
    ///
    /// - Parameter name: The unencoded name of the queue.
    /// - Returns: The number of deleted messages.
    /// - Throws: `AMQPError`: `notFound` if the queue does not exist, `invalidField` for a stream. Further errors are
    ///   the error that ended the links, `timeout` and `cancelled`.
    @discardableResult
    public func purgeQueue(_ name: String) async throws(AMQPError) -> Int {
        try await self.answer(to: ManagementRequest(.delete, "queues", name, rest: "/messages")).messageCount()
    }

    // MARK: Exchanges

    /// Declares an exchange, and suspends until the exchange exists. The exchange may already exist with the same
    /// properties.
    ///
    /// - Parameter exchange: The exchange.
    /// - Throws: `AMQPError`: `preconditionFailed` if the exchange exists with other properties, `invalidField` for an
    ///   unknown kind, `notAllowed` for a reserved name. Further errors are the error that ended the links, `timeout`
    ///   and `cancelled`.
    public func declare(_ exchange: RabbitMQExchange) async throws(AMQPError) {
        let request = try ManagementRequest(.put, "exchanges", exchange.name, body: .map(exchange.declaration))
        try await self.recording(.exchange(exchange)) { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
    }

    /// Deletes an exchange with its bindings, and suspends until the broker has answered. The exchange need not exist.
    ///
    /// - Parameter name: The unencoded name of the exchange.
    /// - Throws: `AMQPError`: `notAllowed` for an exchange of the broker itself. Further errors are the error that
    ///   ended the links, `timeout` and `cancelled`.
    public func deleteExchange(_ name: String) async throws(AMQPError) {
        let request = try ManagementRequest(.delete, "exchanges", name)
        try await self.forgetting {
            $0.forgetExchange(name)
        } in: { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
    }

    // MARK: Bindings

    /// Binds a queue or an exchange to an exchange, and suspends until the binding exists. The binding may already
    /// exist.
    ///
    /// - Parameter binding: The binding.
    /// - Throws: `AMQPError`: `notFound` if one end does not exist. Further errors are other refusals of the broker,
    ///   the error that ended the links, `timeout` and `cancelled`.
    public func bind(_ binding: RabbitMQBinding) async throws(AMQPError) {
        let request = ManagementRequest(.post, "/bindings", body: .map(binding.declaration))
        try await self.recording(.binding(binding)) { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
    }

    /// Deletes a binding, and suspends until the broker has answered. The binding need not exist.
    ///
    /// - Parameter binding: The binding, with the arguments of its declaration.
    /// - Throws: `AMQPError`: the broker's refusal, the error that ended the links, `timeout` and `cancelled`.
    public func unbind(_ binding: RabbitMQBinding) async throws(AMQPError) {
        try await self.forgetting {
            $0.forget(binding)
        } in: { () async throws(AMQPError) in
            var path: String? = binding.path
            // Both requests share one time limit.
            let deadline = self.deadline
            if !binding.arguments.isEmpty {
                // The path contains a checksum of the arguments that only the broker can compute.
                let list = try await self.answer(to: ManagementRequest(.get, binding.listPath), by: deadline)
                path = try binding.location(in: list.body)
            }
            if let path { try await self.answer(to: ManagementRequest(.delete, path), by: deadline) }
        }
    }

    // MARK: The record

    /// Records a declaration before its request, so that the next connection repeats it after a loss. Removes a failed
    /// declaration.
    @discardableResult
    private func recording<Value: Sendable>(
        _ entity: RabbitMQTopology.Entity,
        _ request: () async throws(AMQPError) -> Value
    ) async throws(AMQPError) -> Value {
        guard let topology = self.topology else { return try await request() }
        let former = try topology.change { (record) throws(AMQPError) in try record.note(entity) }
        do throws(AMQPError) {
            return try await request()
        } catch {
            topology.change { $0.takeBack(entity, former) }
            throw error
        }
    }

    /// Runs a deletion, and removes the declaration from the record unless the broker refuses.
    @discardableResult
    private func forgetting<Value: Sendable>(
        _ change: @Sendable (inout TopologyRecord) -> Void,
        in request: () async throws(AMQPError) -> Value
    ) async throws(AMQPError) -> Value {
        do throws(AMQPError) {
            let value = try await request()
            self.topology?.change(change)
            return value
        } catch {
            // Without an answer, the broker may have deleted the entity.
            if error.info[.symbol("status")] == nil { self.topology?.change(change) }
            throw error
        }
    }
}
