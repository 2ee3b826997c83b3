// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension ReadReservation {
    /// Makes limited reads of a channel reserve room first. Call it on the channel's event loop.
    static func make(
        for channel: any Channel,
        _ configuration: AMQPConnection.Configuration,
        isTLS: Bool
    ) throws -> ReadReservation? {
        guard let budget = configuration.receiveBudget else { return nil }
        let permit = ReadReservation(budget, isTLS: isTLS)
        try channel.syncOptions?.setOption(.recvAllocator, value: BoundedReads(permit))
        return permit
    }
}
