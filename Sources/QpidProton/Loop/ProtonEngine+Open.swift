// SPDX-License-Identifier: Apache-2.0

internal import Logging

// The open frame of this side.

extension ProtonEngine {
    /// Sets the fields of the open frame, before the engine is bound.
    func configure(_ configuration: AMQPConnection.Configuration, isServer: Bool) throws(AMQPError) {
        if isServer { self.setServer() }
        self.setMaxFrameSize(configuration.maxFrameSize.bytes)
        self.setChannelMax(configuration.channelMax)
        if let idle = configuration.idleTimeout { self.setIdleTimeout(idle) }
        self.setContainerID(configuration.containerID ?? Self.makeContainerID())
        self.setHostname(configuration.virtualHost)
        try self.setCapabilities(
            offered: configuration.offeredCapabilities,
            desired: configuration.desiredCapabilities
        )
        try self.setProperties(configuration.properties)
    }

    private static func makeContainerID() -> String {
        "swift-qpid-proton-" + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    /// Removes fields from the open that do not fit into the frames of a peer that opened first. Returns false if even
    /// the names do not fit.
    func fitOpen(into limit: Int, _ logger: Logger) -> Bool {
        let size = self.openSize
        guard size > limit else { return true }
        logger.warning(
            "the open frame is larger than the peer accepts: its properties are omitted, and its capabilities if necessary",
            metadata: .amqp([.size: "\(size)", .limit: "\(limit)"])
        )
        self.clearProperties()
        if self.openSize > limit { self.clearCapabilities() }
        guard self.openSize > limit else { return true }
        // The close that follows needs an open before it.
        self.setContainerID("")
        self.setHostname(nil)
        return false
    }
}
