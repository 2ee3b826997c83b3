// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The place of a receiver in a RabbitMQ stream, unless the application changes the settings of each link.

extension ClientReceiver {
    private static let filter = AMQPFilter.streamOffset(.next).name

    /// Returns whether a receiver with these settings reads a stream; `nil` if only its first message shows that.
    static func isStream(_ settings: AMQPReceiver.Configuration, isChanged: Bool) -> Bool? {
        if isChanged { return false }
        return settings.source.filters.contains { $0.name == Self.filter } ? true : nil
    }

    /// Records the messages that a task receives from a link.
    func noteOffsets(_ deliveries: some Sequence<AMQPDelivery>) {
        guard self.state.withLock({ $0.place.isStream }) != false else { return }
        for delivery in deliveries {
            let offset = ConsumerEnvelope(delivery.payload).streamOffset
            let (isStream, found) = self.state.withLock { state -> (Bool, AMQPReceiver?) in
                let isFirst = state.place.isStream == nil
                if isFirst { state.place.isStream = offset != nil }
                if let offset {
                    state.place.take(delivery.sequence, offset: offset, isSettled: delivery.isSettled)
                }
                return (offset != nil, isFirst && offset != nil ? state.last : nil)
            }
            // The watch begins before the application receives the first message.
            if let found { self.watch(found) }
            if !isStream { return }
        }
    }

    /// Records which messages of a link are settled.
    func watch(_ link: AMQPReceiver) {
        guard self.state.withLock({ $0.place.isStream }) == true else { return }
        link.watchSettlements { [weak self, weak link] sequence, includesEarlier in
            self?.state.withLock { state in
                // A decision about a message of a lost link has no effect.
                guard let link, state.last === link else { return }
                state.place.settle(sequence, includesEarlier: includesEarlier)
            }
        }
    }

    /// Starts the next link behind the settled messages.
    func resume(_ configuration: inout AMQPReceiver.Configuration) {
        guard let next = self.state.withLock({ $0.place.next }) else { return }
        configuration.source.filters.removeAll { $0.name == Self.filter }
        configuration.source.filters.append(.streamOffset(.offset(next)))
    }
}
