// SPDX-License-Identifier: Apache-2.0

import QpidProton

/// The functions with which the contender connects and listens.
enum Peer {
    /// The other contenders limit only the number of messages, so our limits in bytes must not affect the measurement.
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
