// SPDX-License-Identifier: Apache-2.0

import Logging
import QpidProton
import TestSupport
import Testing

/// Logins that must fail, and passwords that must stay secret.
@Suite(.timeLimit(.minutes(2)))
struct FailureLoginTests {
    private static let password = "s3cr3t-påss"

    private static func listening(_ anonymous: Bool? = nil) -> AMQPListener.Configuration {
        var configuration = AMQPListener.Configuration()
        configuration.sasl = AMQPServerSASL(allowsAnonymous: anonymous) { user, password in
            user == "ann" && password == Self.password
        }
        return configuration
    }

    @Test func aWrongPasswordIsRefusedByThePeer() async throws {
        try await TestListener.with(Self.listening()) { listener in
            let error = try await connectFailure(listener.url) {
                $0.sasl = .plain(username: "ann", password: "wr0ng")
            }
            #expect(
                error.scope == .connection && error.condition == .unauthorizedAccess && error.origin == .peer
                    && error.ending == .refused && !error.isRetryable
            )
            #expect(error.detail.contains("refused the login with SASL PLAIN"))
            #expect(!"\(error)".contains("wr0ng"))
            // The failure does not affect the next login.
            var right = AMQPConnection.Configuration()
            right.sasl = .plain(username: "ann", password: Self.password)
            let connection = try await AMQPConnection.connect(to: listener.url, configuration: right)
            try await waitUntil("the listener has the connection") { !listener.connections.isEmpty }
            #expect(listener.connections.map { $0.identity?.username } == ["ann"])
            try await connection.close().check()
        }
    }

    @Test func aLoginWithoutACommonMechanismIsRefused() async throws {
        try await TestListener.with(Self.listening()) { listener in
            let error = try await connectFailure(listener.url) { $0.sasl = .anonymous }
            #expect(error.condition == .unauthorizedAccess)
            #expect(error.detail.contains("no SASL mechanism in common"), "\(error)")
            // A client must not skip the login either.
            let second = try await connectFailure(listener.url) { $0.sasl = .none }
            #expect(
                [.unauthorizedAccess, .connectionFramingError, .connectionLost].contains(second.condition),
                "\(second)"
            )
            #expect(listener.connections.isEmpty)
        }
    }

    @Test(arguments: [
        (UInt8(1), AMQPCondition.unauthorizedAccess), (2, .internalError), (3, .internalError), (4, .internalError),
    ])
    func eachOutcomeOfALoginHasItsCondition(_ code: UInt8, _ condition: AMQPCondition) async throws {
        try await ScriptedPeer.with(login: .init(code: code)) { _, url in
            let error = try await connectFailure(url)
            #expect(error.condition == condition && error.origin == .peer, "\(error)")
        }
    }

    @Test(.enabled(if: outwardAddress != nil, "this machine has no address but loopback"))
    func plainNeverLeavesTheMachineWithoutTLS() async throws {
        let address = try #require(outwardAddress)
        try await ScriptedPeer.with(host: address) { peer, url in
            let login = AMQPSASL.plain(username: "ann", password: Self.password)
            let error = try await connectFailure(url) { $0.sasl = login }
            #expect(error.condition == .invalidArgument)
            #expect(error.detail.contains("would send the password unencrypted"), "\(error)")
            #expect(!Self.holds(peer.received, Self.password))
            // With permission, PLAIN is used without TLS.
            var allowed = AMQPConnection.Configuration()
            allowed.sasl = login.allowingPlainWithoutTLS()
            try await AMQPConnection.connect(to: url, configuration: allowed).close()
            #expect(Self.holds(peer.received, Self.password))
        }
    }

    @Test(.enabled(if: outwardAddress != nil, "this machine has no address but loopback"))
    func plainIsNotOfferedToOtherMachinesWithoutTLS() async throws {
        let address = try #require(outwardAddress)
        try await TestListener.with(Self.listening(), host: address) { listener in
            let error = try await connectFailure("amqp://\(address):\(listener.listener.port)") {
                $0.sasl = .plain(username: "ann", password: Self.password).allowingPlainWithoutTLS()
            }
            #expect(error.condition == .unauthorizedAccess && error.detail.contains("no SASL mechanism"), "\(error)")
        }
    }

    private static func holds(_ bytes: [UInt8], _ text: String) -> Bool {
        bytes.contains(Array(text.utf8))
    }

    // MARK: Secrecy

    @Test func noPasswordIsShownAnywhere() async throws {
        let files = try TestCertificates.files()
        let log = LogLines()
        var shown: [String] = []
        for isTLS in [false, true] {
            var listening = Self.listening()
            listening.connection.tracesFrames = true
            if isTLS { listening.tls = AMQPServerTLS(identity: files.server) }
            let listener = try await AMQPListener.bind(port: 0, configuration: listening, logger: log.logger)
            for password in [Self.password, "wr0ng-\(Self.password)"] {
                var url = try AMQPURL("\(isTLS ? "amqps" : "amqp")://ann@localhost:\(listener.port)")
                url.password = password
                var configuration = AMQPConnection.Configuration()
                configuration.tls.trustRoots = files.authority
                configuration.tracesFrames = true
                var plain = configuration
                plain.sasl = .plain(username: "ann", password: password)
                shown.append("\(url) \(String(reflecting: url)) \(plain) \(String(reflecting: plain))")
                for value: Any in [url, plain, plain.sasl] {
                    var text = ""
                    dump(value, to: &text)
                    shown.append(text)
                }
                do {
                    let connection = try await AMQPConnection.connect(
                        to: url,
                        configuration: configuration,
                        logger: log.logger
                    )
                    var text = ""
                    dump(connection, to: &text)
                    shown += [text, "\(connection.configuration)", "\(String(describing: connection.identity))"]
                    try await connection.close().check()
                } catch {
                    var text = ""
                    dump(error, to: &text)
                    shown += ["\(error)", text]
                }
                let second = try? await AMQPConnection.connect(
                    to: "amqp://localhost:\(listener.port)",
                    configuration: plain,
                    logger: log.logger
                )
                try await second?.close().check()
            }
            await listener.close()
        }
        let malformed = "amqp://ann:\(Self.password)/x@localhost"
        do {
            _ = try await AMQPConnection.connect(to: malformed)
        } catch {
            shown.append("\(error)")
        }
        #expect(log.all.count > 20, "the log has too little to prove anything")
        #expect(log.all.contains { $0.level == .trace }, "frames are logged")
        let base64 = "AGFubg"
        for text in shown + [log.text] {
            #expect(!text.contains("s3cr3t") && !text.contains(base64), "\(text)")
        }
    }
}
