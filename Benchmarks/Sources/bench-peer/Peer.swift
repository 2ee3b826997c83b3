// SPDX-License-Identifier: Apache-2.0

import QpidProton

/// How the contender connects and listens.
enum Peer {
    /// The limits of the other contenders are counts of messages alone: ours must not be what is measured.
    static let session = AMQPSession.Configuration(incomingCapacity: .mebibytes(16))

    static func connect(_ port: Int, _ tls: TLSOptions) async throws -> AMQPConnection {
        guard let authority = tls.files.first else {
            return try await AMQPConnection.connect(host: "127.0.0.1", port: port)
        }
        var configuration = AMQPConnection.Configuration()
        configuration.tls = AMQPTLS(trustRoots: .file(authority))
        return try await AMQPConnection.connect(to: "amqps://localhost:\(port)", configuration: configuration)
    }

    static func listen(_ port: Int, _ tls: TLSOptions) async throws -> AMQPListener {
        var configuration = AMQPListener.Configuration()
        if !tls.files.isEmpty {
            guard tls.files.count == 2 else { throw Failure("a listener needs --tls CERTIFICATE KEY") }
            configuration.tls = AMQPServerTLS(
                identity: .files(certificateChain: tls.files[0], privateKey: tls.files[1])
            )
        }
        let listener = try await AMQPListener.bind(host: "127.0.0.1", port: port, configuration: configuration)
        Usage.error("listening \(listener.port)")
        return listener
    }
}
