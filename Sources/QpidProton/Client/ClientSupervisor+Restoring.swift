// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The stages of a new connection: receivers without credit, senders, the messages in doubt, and the credit.

extension ClientSupervisor {
    /// How long a stage waits for a link. A peer that does not answer one attach delays no other link for longer. A
    /// peer that accepts messages only after its receivers have credit can grant it.
    private static let patience = Duration.seconds(1)

    /// Attaches the existing links to a new connection.
    func restore(_ links: [Managed], _ generation: Int) {
        guard !links.isEmpty else { return self.noteAttached() }
        for case let receiver as ClientReceiver in links.map(\.link) { receiver.hold(generation) }
        self.state.withLock { state in
            // The connection may already be lost.
            guard state.connection != nil, state.generation == generation else { return }
            state.restoring = Task { await self.restoreInOrder(links, generation) }
        }
    }

    private func restoreInOrder(_ links: [Managed], _ generation: Int) async {
        let receivers = links.filter { $0.link is ClientReceiver }
        await self.attach(receivers)
        let senders = links.filter { $0.link is ClientSender }
        await self.attach(senders)
        let deadline = self.clock.now + Self.patience
        for case let sender as ClientSender in senders.map(\.link) {
            await self.wait(until: deadline) { await sender.waitUntilReplayed() }
        }
        let isOpen = self.state.withLock { state in
            guard state.connection != nil, state.generation == generation else { return false }
            state.restoring = nil
            return true
        }
        guard isOpen else { return }
        for case let receiver as ClientReceiver in receivers.map(\.link) { receiver.use(generation) }
        self.noteAttached()
    }

    /// Attaches links, and suspends until each is attached or refused.
    private func attach(_ links: [Managed]) async {
        for managed in links { self.run(managed.link) }
        let deadline = self.clock.now + Self.patience
        for managed in links { await managed.tried?.wait(until: deadline, self.clock) }
    }

    private func wait(until deadline: Duration, _ body: @escaping @Sendable () async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await body() }
            group.addTask { try? await self.clock.sleep(until: deadline) }
            await group.next()
            group.cancelAll()
        }
    }
}
