// SPDX-License-Identifier: Apache-2.0

/// The capabilities of one side of a link. Source: AMQP 1.0 §2.7.3.
struct LinkCapabilities: Sendable, Equatable {
    var offered: [AMQPSymbol] = []
    var desired: [AMQPSymbol] = []

    var isEmpty: Bool { self.offered.isEmpty && self.desired.isEmpty }
}
