public import QpidProton

// Each call suspends until the broker has answered, for `timeout` at most. It throws what the broker refused, what ended the links, or
// `timeout`; when the task is cancelled it throws `cancelled`, and the broker may have done what was asked all the same.

extension RabbitMQManagement {
    // MARK: Queues

    /// Declares a queue, and suspends until it is there. It may be there already, with the same properties.
    ///
    /// - Parameter queue: The queue.
    /// - Returns: The queue as the broker has it.
    /// - Throws: `AMQPError`: `preconditionFailed` when there is a queue of that name with other properties, `invalidField` for arguments
    ///   that the broker does not take, `notAllowed` for a name that is reserved; what ended the links; `timeout`; `cancelled`.
    @discardableResult
    public func declare(_ queue: RabbitMQQueue) async throws(AMQPError) -> RabbitMQQueueInfo {
        let request = try ManagementRequest(.put, "queues", queue.name, body: .map(queue.declaration))
        let answer = try await self.recording(.queue(queue)) { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
        return try RabbitMQQueueInfo(answer.map())
    }

    /// Tells what the broker knows of a queue, and suspends until it has answered.
    ///
    /// - Parameter name: The name of the queue as it is.
    /// - Throws: `AMQPError`: `notFound` when there is no such queue; what ended the links; `timeout`; `cancelled`.
    public func queue(_ name: String) async throws(AMQPError) -> RabbitMQQueueInfo {
        try RabbitMQQueueInfo(try await self.answer(to: ManagementRequest(.get, "queues", name)).map())
    }

    /// Deletes a queue with its messages, and suspends until it is gone. It need not be there.
    ///
    /// Links from the queue are closed by the broker with `resourceDeleted`.
    ///
    /// - Parameter name: The name of the queue as it is.
    /// - Returns: The number of messages that it had.
    /// - Throws: `AMQPError`: what the broker refused; what ended the links; `timeout`; `cancelled`.
    @discardableResult
    public func deleteQueue(_ name: String) async throws(AMQPError) -> Int {
        let request = try ManagementRequest(.delete, "queues", name)
        return try await self.forgetting {
            $0.forgetQueue(name)
        } in: { () async throws(AMQPError) in
            try await self.answer(to: request)
        }.messageCount()
    }

    /// Deletes the messages of a queue that no consumer has, and suspends until they are gone.
    ///
    /// - Parameter name: The name of the queue as it is.
    /// - Returns: The number of messages.
    /// - Throws: `AMQPError`: `notFound` when there is no such queue, `invalidField` for a stream; what ended the links; `timeout`;
    ///   `cancelled`.
    @discardableResult
    public func purgeQueue(_ name: String) async throws(AMQPError) -> Int {
        try await self.answer(to: ManagementRequest(.delete, "queues", name, rest: "/messages")).messageCount()
    }

    // MARK: Exchanges

    /// Declares an exchange, and suspends until it is there. It may be there already, with the same properties.
    ///
    /// - Parameter exchange: The exchange.
    /// - Throws: `AMQPError`: `preconditionFailed` when there is an exchange of that name with other properties, `invalidField` for a
    ///   kind that the broker does not know, `notAllowed` for a name that is reserved; what ended the links; `timeout`; `cancelled`.
    public func declare(_ exchange: RabbitMQExchange) async throws(AMQPError) {
        let request = try ManagementRequest(.put, "exchanges", exchange.name, body: .map(exchange.declaration))
        try await self.recording(.exchange(exchange)) { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
    }

    /// Deletes an exchange with its bindings, and suspends until it is gone. It need not be there.
    ///
    /// - Parameter name: The name of the exchange as it is.
    /// - Throws: `AMQPError`: `notAllowed` for one of the broker's own; what ended the links; `timeout`; `cancelled`.
    public func deleteExchange(_ name: String) async throws(AMQPError) {
        let request = try ManagementRequest(.delete, "exchanges", name)
        try await self.forgetting {
            $0.forgetExchange(name)
        } in: { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
    }

    // MARK: Bindings

    /// Binds a queue or an exchange to an exchange, and suspends until it is bound. It may be bound already.
    ///
    /// - Parameter binding: The binding.
    /// - Throws: `AMQPError`: `notFound` when an end of it is not there; what else the broker refused; what ended the links; `timeout`;
    ///   `cancelled`.
    public func bind(_ binding: RabbitMQBinding) async throws(AMQPError) {
        let request = ManagementRequest(.post, "/bindings", body: .map(binding.declaration))
        try await self.recording(.binding(binding)) { () async throws(AMQPError) in
            try await self.answer(to: request)
        }
    }

    /// Takes a binding back, and suspends until it is gone. It need not be there.
    ///
    /// - Parameter binding: The binding, with the arguments that it was made with.
    /// - Throws: `AMQPError`: what the broker refused; what ended the links; `timeout`; `cancelled`.
    public func unbind(_ binding: RabbitMQBinding) async throws(AMQPError) {
        try await self.forgetting {
            $0.forget(binding)
        } in: { () async throws(AMQPError) in
            var path: String? = binding.path
            // One limit for both requests.
            let deadline = self.deadline
            if !binding.arguments.isEmpty {
                // The path holds a sum of the arguments that only the broker can make.
                let list = try await self.answer(to: ManagementRequest(.get, binding.listPath), by: deadline)
                path = try binding.location(in: list.body)
            }
            if let path { try await self.answer(to: ManagementRequest(.delete, path), by: deadline) }
        }
    }

    // MARK: The record

    /// Records a declaration before it is asked for, so that a loss in between leaves it to the next connection. One that
    /// has failed is taken back.
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

    /// Forgets what is deleted, unless the broker refuses it.
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
            // Without an answer the broker may have deleted it.
            if error.info[.symbol("status")] == nil { self.topology?.change(change) }
            throw error
        }
    }
}
