// SPDX-License-Identifier: Apache-2.0

import Synchronization

@testable import QpidProton

/// The objects and the counted bytes of a connection, none of which may remain after its end.
final class Remains: Sendable {
    private let checks = Mutex<[(name: String, isGone: @Sendable () -> Bool)]>([])
    /// The shared budgets, which count sent and received bytes too.
    let budgets = [
        "sending": AMQPMemoryBudget(limit: .mebibytes(8)), "receiving": AMQPMemoryBudget(limit: .mebibytes(8)),
    ]

    /// The remaining objects and bytes, as text.
    var left: [String] {
        let objects = self.checks.withLock { $0 }.filter { !$0.isGone() }.map { "\($0.name) is alive" }
        let bytes = self.budgets.filter { $0.value.used != 0 }.map { "\($0.value.used) bytes of \($0.key)" }
        return objects + bytes
    }

    /// Makes a connection count its bytes against the budgets.
    func share(_ configuration: inout AMQPConnection.Configuration) {
        configuration.sendBudget = self.budgets["sending"]
        configuration.receiveBudget = self.budgets["receiving"]
    }

    func watch(_ connection: AMQPConnection, _ name: String) {
        self.add(connection, "the \(name)'s connection")
        // The handler and Proton hold the outbox.
        self.add(connection.outbox, "the \(name)'s outbox")
    }

    func watch(_ sender: AMQPSender, _ name: String) { self.add(sender, "the \(name)'s sender") }
    func watch(_ receiver: AMQPReceiver, _ name: String) { self.add(receiver, "the \(name)'s receiver") }

    private func add(_ object: some AnyObject & Sendable, _ name: String) {
        self.checks.withLock { $0.append((name, { [weak object] in object == nil })) }
    }
}
