// SPDX-License-Identifier: Apache-2.0

package import QpidProton

/// The way to a peer: one connection, or a client that reopens lost connections.
package struct Way: Sendable {
    package enum Kind: Sendable {
        case connection(AMQPConnection)
        case client(AMQPClient)
    }

    package let kind: Kind
    /// The host and the port of a single connection that this program opened.
    private let place: String?
    /// The observed losses and recoveries.
    package let outages: OutageReport?
    private let watching: Task<Void, Never>?

    /// - Parameter url: The URL to which the program has connected; `nil` for an accepted connection.
    package static func connection(_ connection: AMQPConnection, to url: AMQPURL? = nil) -> Way {
        let place = url.map { "\($0.host.contains(":") ? "[\($0.host)]" : $0.host):\($0.port)" }
        return Way(kind: .connection(connection), place: place, outages: nil, watching: nil)
    }

    /// - Parameter program: The name at the start of each line on stderr.
    package static func client(_ client: AMQPClient, _ program: String) -> Way {
        let outages = OutageReport(program)
        return Way(kind: .client(client), place: nil, outages: outages, watching: outages.watch(client))
    }

    /// The open connection.
    package var connection: AMQPConnection? {
        switch self.kind {
        case .connection(let connection): connection
        case .client(let client): client.connection
        }
    }

    /// The executor of the connection; `nil` for a client, whose connection may change.
    package var taskExecutor: (any TaskExecutor)? {
        if case .connection(let connection) = self.kind { connection.taskExecutor } else { nil }
    }

    /// Returns an error that names the peer if the connection was lost or the peer closed it, or if an attempt with this
    /// error ended the client; otherwise the error.
    package func naming(_ error: any Error) -> any Error {
        if let outages = self.outages { return outages.naming(error) }
        guard let place = self.place, var lost = error as? AMQPError, lost.scope == .connection, lost.ending != nil,
            !lost.detail.contains(place)
        else { return error }
        lost.detail = lost.detail.isEmpty ? place : "\(place): \(lost.detail)"
        return lost
    }

    /// How long the peer may take to answer.
    package var limit: Duration {
        switch self.kind {
        case .connection(let connection): connection.configuration.operationTimeout
        case .client(let client): client.configuration.connection.operationTimeout
        }
    }

    /// Closes the connection or the client. Cancellation of the task does not affect the close.
    ///
    /// - Throws: The error with which the connection or the client ended.
    package func close(within limit: Duration) async throws {
        switch self.kind {
        case .connection(let connection):
            try await Closing.run(within: limit) { try await connection.close().check() }
        case .client(let client):
            _ = await Task { await client.close(within: limit) }.value
            await self.watching?.value
            // A loss is no error of a client. The counts show the unfinished work.
            if case .closed(let error?) = client.state { throw error }
        }
    }
}
