// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The connection: the fields of both open frames, and the close.

extension ProtonEngine: ProtonEndpoint {
    @inline(__always) var state: pn_state_t { pn_connection_state(self.connection) }

    // MARK: The open of this side

    func setContainerID(_ id: String) { pn_connection_set_container(self.connection, id) }

    func setHostname(_ hostname: String?) { pn_connection_set_hostname(self.connection, hostname) }

    func setCapabilities(offered: [AMQPSymbol], desired: [AMQPSymbol]) throws(AMQPError) {
        try ProtonData.set(pn_connection_offered_capabilities(self.connection), symbols: offered)
        try ProtonData.set(pn_connection_desired_capabilities(self.connection), symbols: desired)
    }

    func setProperties(_ properties: AMQPMap) throws(AMQPError) {
        try ProtonData.set(pn_connection_properties(self.connection), map: properties)
    }

    func clearCapabilities() {
        pn_data_clear(pn_connection_offered_capabilities(self.connection))
        pn_data_clear(pn_connection_desired_capabilities(self.connection))
    }

    func clearProperties() { pn_data_clear(pn_connection_properties(self.connection)) }

    /// The size of the open frame in bytes, before it is sent.
    var openSize: Int { ProtonFrameSize.open(self.connection) }

    func open() { pn_connection_open(self.connection) }

    // MARK: The open of the peer

    /// The peer's announcements in its open frame: a copy, because Proton frees its own with the transport.
    var peer: AMQPPeer {
        let connection = self.connection
        let (largest, idle) = (self.remoteMaxFrameSize, self.remoteIdleTimeout)
        return AMQPPeer(
            containerID: pn_connection_remote_container(connection).map { String(cString: $0) } ?? "",
            hostname: pn_connection_remote_hostname(connection).map { String(cString: $0) },
            maxFrameSize: largest == .max ? nil : AMQPByteCount(Int(largest)),
            channelMax: self.remoteChannelMax,
            idleTimeout: idle == 0 ? nil : .milliseconds(Int64(idle)),
            offeredCapabilities: ProtonData.symbols(pn_connection_remote_offered_capabilities(connection)),
            desiredCapabilities: ProtonData.symbols(pn_connection_remote_desired_capabilities(connection)),
            properties: ProtonData.map(pn_connection_remote_properties(connection))
        )
    }

    // MARK: The close

    /// Sets the error in the close of this side.
    func setError(_ error: AMQPError) { ProtonCondition.set(pn_connection_condition(self.connection), error) }

    /// Closes the connection. Proton drops data without credit (P8, P32).
    func close() { pn_connection_close(self.connection) }

    /// Returns the error in the close of the peer; `nil` if the close has no error.
    func remoteError(_ ending: AMQPError.Ending) -> AMQPError? {
        ProtonCondition.get(pn_connection_remote_condition(self.connection), .connection, ending)
    }
}
