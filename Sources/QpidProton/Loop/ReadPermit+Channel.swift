internal import NIOCore

extension ReadPermit {
    /// Has the reads of a channel take room first, where they are bounded. Call it on the channel's event loop.
    static func make(
        for channel: any Channel,
        _ configuration: AMQPConnection.Configuration,
        isTLS: Bool
    ) throws -> ReadPermit? {
        guard let budget = configuration.receiveBudget else { return nil }
        let permit = ReadPermit(budget, isTLS: isTLS)
        try channel.syncOptions?.setOption(.recvAllocator, value: BoundedReads(permit))
        return permit
    }
}
