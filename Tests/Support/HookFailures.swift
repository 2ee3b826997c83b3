// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers
package import QpidProton

/// The failures of a client's `onConnect` hook, from its events.
package final class HookFailures: Sendable {
    private let list = NIOLockedValueBox<[(generation: Int, error: AMQPError)]>([])
    package var all: [(generation: Int, error: AMQPError)] { self.list.withLockedValue { $0 } }

    package init(of client: AMQPClient) {
        let events = client.events
        Task {
            for await event in events {
                guard case .onConnectFailed(let generation, _, let error) = event else { continue }
                self.list.withLockedValue { $0.append((generation, error)) }
            }
        }
    }
}
