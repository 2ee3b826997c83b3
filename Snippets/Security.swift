// SPDX-License-Identifier: Apache-2.0

// Pieces of the article "Security".

import QpidProton

func connectWithTLS(password: String) async throws {
    // snippet.tls
    var configuration = AMQPConnection.Configuration()
    configuration.tls.trustRoots = .file("/etc/ssl/private-authority.pem")
    configuration.sasl = .plain(username: "orders", password: password)
    let connection = try await AMQPConnection.connect(to: "amqps://broker.example", configuration: configuration)
    // snippet.end
    await connection.close()
}

func connectWithCertificate() async throws {
    // snippet.certificate
    var configuration = AMQPConnection.Configuration()
    configuration.tls.identity = .files(certificateChain: "client.pem", privateKey: "client.key")
    configuration.sasl = .external
    let connection = try await AMQPConnection.connect(to: "amqps://broker.example", configuration: configuration)
    // snippet.end
    await connection.close()
}

func acceptLogins(check: @escaping @Sendable (String, String) async -> Bool) async throws {
    // snippet.listener
    var configuration = AMQPListener.Configuration()
    configuration.tls = AMQPServerTLS(
        identity: .files(certificateChain: "server.pem", privateKey: "server.key")
    )
    configuration.sasl = AMQPServerSASL { username, password in
        await check(username, password)
    }
    let listener = try await AMQPListener.bind(host: "0.0.0.0", port: 5671, configuration: configuration)
    for try await connection in listener {
        print(connection.identity ?? "anonymous", connection.remoteAddress ?? "")
    }
    // snippet.end
}

func requireCertificates() {
    // snippet.clientCertificates
    let tls = AMQPServerTLS(
        identity: .files(certificateChain: "server.pem", privateKey: "server.key"),
        clientCertificates: .required(.file("clients-authority.pem"))
    )
    // snippet.end
    print(tls.minimumVersion)
}
