// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Testing

@testable import QpidProton

@Suite struct SASLConfigurationTests {
    /// Returns the mechanisms that a client handler would try, best first; `nil` without a SASL layer.
    static func names(
        _ sasl: AMQPSASL,
        username: String? = nil,
        password: String? = nil,
        certificate: Bool = false
    ) throws(AMQPError) -> [String]? {
        try sasl.candidates(
            username: username,
            password: password.map { Redacted($0) },
            hasClientCertificate: certificate
        )?.map(\.name)
    }

    @Test func mechanismsOfEachConfiguration() throws {
        #expect(try Self.names(.automatic) == ["ANONYMOUS"])
        #expect(try Self.names(.automatic, certificate: true) == ["EXTERNAL", "ANONYMOUS"])
        #expect(try Self.names(.automatic, username: "a", password: "") == ["PLAIN"])
        #expect(try Self.names(.automatic, username: "a", password: "b", certificate: true) == ["PLAIN", "EXTERNAL"])
        #expect(try Self.names(.anonymous, username: "a", password: "b", certificate: true) == ["ANONYMOUS"])
        #expect(try Self.names(.plain(username: "a", password: "b"), certificate: true) == ["PLAIN"])
        #expect(try Self.names(.external, certificate: true) == ["EXTERNAL"])
        #expect(try Self.names(.none, username: "a", password: "b") == nil)
    }

    @Test func configurationsThatCannotLogIn() {
        let noCertificate = #expect(throws: AMQPError.self) { try Self.names(.external) }
        #expect(noCertificate?.condition == .invalidArgument)
        let noPassword = #expect(throws: AMQPError.self) { try Self.names(.automatic, username: "a") }
        #expect(noPassword?.condition == .invalidArgument)
    }

    @Test(arguments: [("", "p"), ("a\0b", "p"), ("a", "s3cret\0")])
    func plainCannotCarryEverything(username: String, password: String) {
        let mechanism = SASLPlainClient(username: username, password: Redacted(password))
        let error = #expect(throws: AMQPError.self) { try mechanism.initialResponse() }
        #expect(error?.condition == .invalidArgument)
        #expect(error?.detail.contains("s3cret") == false)
    }

    @Test func noFormOfAPasswordIsShown() {
        let sasl = AMQPSASL.plain(username: "ann", password: "s3cret").allowingPlainWithoutTLS()
        let mechanism = SASLPlainClient(username: "ann", password: Redacted("s3cret"))
        for value: Any in [sasl, mechanism, Optional(sasl) as Any, [sasl], Redacted("s3cret")] {
            var dumped = ""
            dump(value, to: &dumped)
            for text in [dumped, "\(value)", String(describing: value), String(reflecting: value)] {
                #expect(!text.contains("s3cret"))
            }
        }
        #expect(sasl.description == "PLAIN as ann")
        #expect(sasl.allowsPlainWithoutTLS)
        #expect(sasl != AMQPSASL.plain(username: "ann", password: "other").allowingPlainWithoutTLS())
    }

    @Test func defaultsOfTheServer() {
        #expect(AMQPServerSASL().allowsAnonymous)
        #expect(AMQPServerSASL().letsInWithoutSASL)
        let checking = AMQPServerSASL { _, _ in true }
        #expect(!checking.allowsAnonymous && !checking.letsInWithoutSASL && !checking.allowsPlainWithoutTLS)
    }

    @Test(arguments: [
        ("127.0.0.1", true), ("127.255.0.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("128.0.0.1", false),
        ("10.127.0.1", false), ("0.0.0.0", false), ("::", false), ("::ffff:10.0.0.1", false), ("fe80::1", false),
        ("::2", false), ("2001:db8::1", false),
    ])
    func loopbackAddresses(text: String, isLocal: Bool) throws {
        #expect(SASLTransportSecurity.isLocal(try SocketAddress(ipAddress: text, port: 5672)) == isLocal)
    }

    @Test func otherAddresses() throws {
        #expect(SASLTransportSecurity.isLocal(try SocketAddress(unixDomainSocketPath: "/tmp/amqp.sock")))
        #expect(!SASLTransportSecurity.isLocal(nil))
    }
}
