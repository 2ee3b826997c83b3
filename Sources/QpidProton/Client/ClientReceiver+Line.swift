// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

// The tasks that have outlived a link: one task receives messages from the next link for them, in their order.

extension ClientReceiver {
    /// Starts a task that receives messages for the line, when all tasks of the last link have joined it.
    func pullIfNeeded() {
        let link = self.state.withLock { state -> AMQPReceiver? in
            guard let link = state.link, !state.isPulling, state.stragglers == 0, !state.line.isEmpty else {
                return nil
            }
            state.isPulling = true
            return link
        }
        if let link { Task { await self.pull(link) } }
    }

    private func pull(_ link: AMQPReceiver) async {
        while self.needsPull(link) {
            let delivery = (try? await link.next()) ?? nil
            guard let delivery else {
                self.state.withLock { state in
                    state.isPulling = false
                    if state.link === link { state.letGo() }
                }
                return self.pullIfNeeded()
            }
            var next: AMQPDelivery? = delivery
            while let delivery = next {
                self.hand(delivery, of: link)
                next = self.hasLine ? link.poll() : nil
            }
        }
        self.pullIfNeeded()
    }

    private var hasLine: Bool { self.state.withLock { !$0.line.isEmpty } }

    private func needsPull(_ link: AMQPReceiver) -> Bool {
        self.state.withLock { state in
            let needs = state.link === link && !state.line.isEmpty
            if !needs { state.isPulling = false }
            return needs
        }
    }

    private func hand(_ delivery: AMQPDelivery, of link: AMQPReceiver) {
        let isStale = self.isStale(delivery, of: link)
        if !isStale { self.noteOffsets(CollectionOfOne(delivery)) }
        let reply = self.state.withLock { state -> Reply<AMQPDelivery?>? in
            if isStale {
                state.dropped += 1
                return nil
            }
            if self.isManual { state.granted -= 1 }
            if state.line.isEmpty {
                state.spare.append(delivery)
                return nil
            }
            return state.line.removeFirst().reply
        }
        reply?.resolve(.success(delivery))
    }
}
