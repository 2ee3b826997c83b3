// SPDX-License-Identifier: Apache-2.0

internal import QpidProton

/// The declarations to repeat, in order.
struct TopologyRecord: Sendable {
    typealias Entity = RabbitMQTopology.Entity

    /// The maximum number of declarations.
    static let limit = 10_000

    private var exchanges: [RabbitMQExchange] = []
    private var queues: [RabbitMQQueue] = []
    private var bindings: [RabbitMQBinding] = []

    /// All declarations: exchanges, queues, bindings.
    var entities: [Entity] {
        self.exchanges.map { .exchange($0) } + self.queues.map { .queue($0) } + self.bindings.map { .binding($0) }
    }

    /// Records a declaration, which replaces a declaration of the same name.
    ///
    /// - Returns: The replaced declaration.
    mutating func note(_ entity: Entity) throws(AMQPError) -> Entity? {
        let former = self.remove(entity)
        guard former != nil || self.exchanges.count + self.queues.count + self.bindings.count < Self.limit else {
            let text = "the topology has \(Self.limit) declarations, which is the limit: delete some of them"
            throw AMQPError(condition: .resourceLimitExceeded, detail: text)
        }
        switch entity {
        case .exchange(let exchange): self.exchanges.append(exchange)
        case .queue(let queue): self.queues.append(queue)
        case .binding(let binding): self.bindings.append(binding)
        }
        return former
    }

    /// Removes a failed declaration.
    ///
    /// - Parameter former: The declaration that the failed one had replaced.
    mutating func takeBack(_ entity: Entity, _ former: Entity?) {
        guard self.entities.contains(entity) else { return }
        _ = self.remove(entity)
        if let former { _ = try? self.note(former) }
    }

    /// Removes a binding.
    mutating func forget(_ binding: RabbitMQBinding) { _ = self.remove(.binding(binding)) }

    /// Removes a queue with its bindings.
    mutating func forgetQueue(_ name: String) {
        self.queues.removeAll { $0.name.isSame(as: name) }
        self.bindings.removeAll { $0.destination.isQueue(name) }
    }

    /// Removes an exchange with its bindings.
    mutating func forgetExchange(_ name: String) {
        self.exchanges.removeAll { $0.name.isSame(as: name) }
        self.bindings.removeAll { $0.exchange.isSame(as: name) || $0.destination.isExchange(name) }
    }

    private mutating func remove(_ entity: Entity) -> Entity? {
        switch entity {
        case .exchange(let exchange):
            guard let index = self.exchanges.firstIndex(where: { $0.name.isSame(as: exchange.name) }) else {
                return nil
            }
            return .exchange(self.exchanges.remove(at: index))
        case .queue(let queue):
            guard let index = self.queues.firstIndex(where: { $0.name.isSame(as: queue.name) }) else { return nil }
            return .queue(self.queues.remove(at: index))
        case .binding(let binding):
            guard let index = self.bindings.firstIndex(where: { $0.isSame(as: binding) }) else { return nil }
            return .binding(self.bindings.remove(at: index))
        }
    }

    // MARK: Restoring

    /// Returns the declarations for a new connection, in stages: exchanges, queues, bindings.
    func stages(_ scope: RabbitMQTopology.Scope, _ isWanted: (Entity) -> Bool) -> [[Entity]] {
        let isAll = scope == .all
        let stages = [
            self.exchanges.filter { isAll || $0.canVanish }.map { Entity.exchange($0) },
            self.queues.filter { isAll || $0.canVanish }.map { .queue($0) },
            self.bindings.filter { isAll || self.canVanish($0) }.map { .binding($0) },
        ]
        return stages.map { $0.filter(isWanted) }.filter { !$0.isEmpty }
    }

    /// Returns whether a binding vanishes with either of its ends.
    private func canVanish(_ binding: RabbitMQBinding) -> Bool {
        self.exchanges.contains {
            $0.canVanish && ($0.name.isSame(as: binding.exchange) || binding.destination.isExchange($0.name))
        } || self.queues.contains { $0.canVanish && binding.destination.isQueue($0.name) }
    }
}

extension RabbitMQQueue {
    /// Whether the queue may vanish with a connection or a restart of the broker.
    var canVanish: Bool { self.isExclusive || self.isAutoDelete || !self.isDurable }
}

extension RabbitMQExchange {
    /// Whether the exchange may vanish with a connection or a restart of the broker.
    var canVanish: Bool { self.isAutoDelete || !self.isDurable }
}

extension RabbitMQBinding.Destination {
    fileprivate func isQueue(_ name: String) -> Bool {
        if case .queue(let own) = self { own.isSame(as: name) } else { false }
    }

    fileprivate func isExchange(_ name: String) -> Bool {
        if case .exchange(let own) = self { own.isSame(as: name) } else { false }
    }
}

extension String {
    /// Returns whether the broker considers two names equal: the broker compares their bytes.
    func isSame(as other: String) -> Bool { self.utf8.elementsEqual(other.utf8) }
}
