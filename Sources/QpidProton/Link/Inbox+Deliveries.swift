// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension Inbox {
    /// Returns the next waiting delivery; `nil` if no delivery waits, or the link has ended.
    func poll() -> AMQPDelivery? {
        self.take { $0.pop() }.flatMap { self.delivery($0) }
    }

    /// Returns up to `count` waiting deliveries.
    func poll(max count: Int) -> [AMQPDelivery] {
        var deliveries: [AMQPDelivery] = []
        while deliveries.count < count {
            let rest = count - deliveries.count
            guard let part = self.take({ $0.pop(max: rest) }) else { break }
            if deliveries.isEmpty {
                deliveries = self.deliveries(part)
            } else {
                deliveries += self.deliveries(part)
            }
        }
        return deliveries
    }

    /// Waits for the next delivery; see ``WaitingInbox/nextItem(id:onWait:)``.
    @inline(__always)
    func next(id: UInt64? = nil, onWait: () -> Void = {}) async throws(AMQPError) -> AMQPDelivery? {
        try await self.nextItem(id: id, onWait: onWait).flatMap { self.delivery($0) }
    }

    // MARK: Creating deliveries

    private func delivery(_ part: Part) -> AMQPDelivery? {
        var large = part.large.startIndex
        return part.range.first.map { self.delivery(part, $0, &large) }
    }

    private func deliveries(_ part: Part) -> [AMQPDelivery] {
        [AMQPDelivery](unsafeUninitializedCapacity: part.range.count) { room, count in
            var large = part.large.startIndex
            guard let base = room.baseAddress else { return }
            for index in part.range {
                (base + count).initialize(to: self.delivery(part, index, &large))
                count += 1
            }
        }
    }

    @inline(__always)
    private func delivery(_ part: Part, _ index: Int, _ large: inout Int) -> AMQPDelivery {
        let record = part.chunk[index]
        let payload: ByteBuffer
        var stream: IncomingStream?
        if record.isLarge {
            switch part.large[large] {
            case .whole(let whole): payload = whole
            case .streamed(let beginning, let rest): (payload, stream) = (beginning, rest)
            }
            large += 1
        } else {
            payload = part.chunk.payload(record)
        }
        return AMQPDelivery(
            payload: payload,
            tag: part.chunk.tag(record),
            settler: record.slot == 0 ? nil : self.settler,
            stream: stream,
            slot: record.slot,
            sequence: record.sequence
        )
    }
}
