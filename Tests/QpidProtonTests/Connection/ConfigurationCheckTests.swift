// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import Testing

@testable import QpidProton

/// Unusable settings are refused before a name is resolved or a socket is created. The error names the value.
@Suite(.deadline)
struct ConfigurationCheckTests {
    /// Connects with a resolver that records whether it was called.
    private static func refusal(
        _ url: AMQPURL,
        _ text: String,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ configure: (inout AMQPConnection.Configuration) -> Void = { _ in }
    ) async {
        let resolver = UnaskedResolver()
        var configuration = AMQPConnection.Configuration()
        configure(&configuration)
        let settings = configuration
        let error = await expectError(.invalidArgument, sourceLocation: sourceLocation) {
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let connector = try Connector(url: url, configuration: settings, logger: logger, resolver: resolver)
            return try await connector.connect()
        }
        #expect(error?.scope == .call, sourceLocation: sourceLocation)
        let detail = error?.detail ?? ""
        #expect(detail.contains(text), "\(detail)", sourceLocation: sourceLocation)
        #expect(!detail.contains("s3cret") && !detail.utf8.contains(0), "\(detail)", sourceLocation: sourceLocation)
        #expect(!resolver.isAsked, sourceLocation: sourceLocation)
    }

    private let host = AMQPURL(host: "broker.example")

    /// RabbitMQ's older protocol puts a virtual host into the path. Other clients open a link to the path.
    @Test func anAddressInTheURL() async throws {
        await Self.refusal(try AMQPURL("amqp://broker.example/orders"), "the URL has the address \"orders\"")
        await Self.refusal(AMQPURL(host: "a", address: "q"), "name it when you open a sender or a receiver")
    }

    @Test func loginsThatCannotBeMade() async throws {
        await Self.refusal(try AMQPURL("amqp://ann@broker.example"), "there is a user but no password")
        await Self.refusal(
            AMQPURL(host: "a", username: "", password: "s3cret"),
            "is empty: give a name, or leave the user out"
        )
        await Self.refusal(AMQPURL(host: "a", password: "s3cret"), "the URL has a password but no user")
        await Self.refusal(
            AMQPURL(host: "a", username: "a\0b", password: "p"),
            "the user of the URL contains a zero byte"
        )
        await Self.refusal(
            AMQPURL(host: "a", username: "ann", password: "s3cret\0"),
            "the password of the URL contains a zero byte"
        )
        await Self.refusal(self.host, "the user of SASL PLAIN is empty") {
            $0.sasl = .plain(username: "", password: "s3cret")
        }
        await Self.refusal(self.host, "the password of SASL PLAIN contains a zero byte") {
            $0.sasl = .plain(username: "ann", password: "s3cret\0")
        }
        await Self.refusal(self.host, "SASL EXTERNAL needs TLS and a client certificate") { $0.sasl = .external }
        await Self.refusal(self.host, "the maxFrameSize of SASL is 511") { $0.sasl.maxFrameSize = 511 }
        // These addresses are recognised as remote before any connection attempt.
        for address in ["192.0.2.1", "2001:db8::1", "fe80::1%lo"] {
            await Self.refusal(AMQPURL(host: address), "would send the password unencrypted") {
                $0.sasl = .plain(username: "ann", password: "s3cret")
            }
        }
    }

    @Test(arguments: [
        ("", "serverName \"\" is empty"), (".", "serverName \".\" is empty"), ("a b", "contains a character"),
        ("a\0b", "\"a\\0b\" contains a character"), ("192.0.2.1", "\"192.0.2.1\" is an IP address"),
        ("::1", "\"::1\" is an IP address"), ("192.0.2.1.", "is an IP address"), ("höst.example", "is not ASCII"),
        ("a..example", "is not a host's name"), (".example", "is not a host's name"),
        (String(repeating: "a", count: 64), "is not a host's name"), ("my_broker", "underscore"),
        (Array(repeating: String(repeating: "a", count: 63), count: 4).joined(separator: "."), "is not a host's name"),
    ])
    func serverNamesThatCannotBeUsed(_ name: String, _ text: String) async {
        await Self.refusal(AMQPURL(host: "broker.example", isTLS: true), text) { $0.tls.serverName = name }
        // Without TLS the server name is unused.
        #expect(throws: Never.self) {
            var configuration = AMQPConnection.Configuration()
            configuration.tls.serverName = name
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            _ = try Connector(url: self.host, configuration: configuration, logger: logger)
        }
    }

    @Test func aFinalDotIsNotSent() throws {
        #expect(try AMQPTLS().name(for: "broker.example.") == "broker.example")
        #expect(try AMQPTLS(serverName: "other.example.").name(for: "broker.example") == "other.example")
        #expect(try AMQPTLS(serverName: "other.example").name(for: "192.0.2.1") == "other.example")
        #expect(try AMQPTLS().name(for: "192.0.2.1") == nil)
        #expect(try AMQPTLS().name(for: "fe80::1%lo") == nil)
        // Without verification no certificate is matched.
        #expect(try AMQPTLS(verification: .none).name(for: "my_broker") == "my_broker")
        #expect(try AMQPTLS().name(for: String(repeating: "a", count: 63)) == String(repeating: "a", count: 63))
    }

    @Test func hostsThatCannotBeUsed() async {
        for (name, text) in [
            ("", "the host is empty"), ("good.example\0.evil", "\"good.example\\0.evil\" contains a zero byte"),
            ("[::1]", "without brackets"), ("host:5672", "contains a colon"), ("a b", "contains a character"),
            ("a/b", "contains a character"), ("a@b", "contains a character"), ("127.0.0.1\0x", "contains a zero byte"),
            ("::1\0", "contains a zero byte"), (String(repeating: "a", count: 255), "at most 253"),
        ] {
            await Self.refusal(AMQPURL(host: name), text)
            let error = await expectError(.invalidArgument) { try await AMQPListener.bind(host: name, port: 0) }
            #expect(error?.detail.contains(text) == true)
        }
    }

    @Test func timesOutOfRangeAreRefused() async {
        for time in [Duration.zero, .seconds(-1), .seconds(Int64.max), .seconds(36_501 * 86_400)] {
            await Self.refusal(self.host, "connectTimeout is \(time)") { $0.connectTimeout = time }
            await Self.refusal(self.host, "openTimeout is \(time)") { $0.openTimeout = time }
            await Self.refusal(self.host, "operationTimeout is \(time)") { $0.operationTimeout = time }
            await Self.refusal(self.host, "stallWarning is \(time)") { $0.stallWarning = time }
            await Self.refusal(self.host, "idleTimeout is \(time)") { $0.idleTimeout = time }
        }
        await Self.refusal(self.host, "idleTimeout is \(Duration.milliseconds(3))") {
            $0.idleTimeout = .milliseconds(3)
        }
    }

    @Test func numbersThatAreOutOfRange() async {
        await Self.refusal(self.host, "maxFrameSize is 511") { $0.maxFrameSize = 511 }
        await Self.refusal(self.host, "channelMax is 32768") { $0.channelMax = 32_768 }
        for limit in [Int.min, 0, 1_048_577, .max] {
            await Self.refusal(self.host, "incomingLimit is \(limit)") { $0.incomingLimit = limit }
        }
    }

    @Test func filesThatCannotBeRead() async {
        let url = AMQPURL(host: "broker.example", isTLS: true)
        let missing = "/no/such/file.pem"
        await Self.refusal(url, "the file '\(missing)' for the trusted certificate authorities does not exist") {
            $0.tls.trustRoots = .file(missing)
        }
        await Self.refusal(url, "the file '\(missing)' for the certificate chain does not exist") {
            $0.tls.identity = .files(certificateChain: missing, privateKey: missing)
        }
        await Self.refusal(url, "contains a zero byte") { $0.tls.trustRoots = .file("/dev/null\0.pem") }
    }

    @Test func textsOfTheOpenThatCannotBeSent() async throws {
        await Self.refusal(self.host, "containerID contains a zero byte") { $0.containerID = "a\0b" }
        await Self.refusal(self.host, "containerID is empty") { $0.containerID = "" }
        await Self.refusal(self.host, "virtualHost contains a zero byte") { $0.virtualHost = "vhost:a\0b" }
        await Self.refusal(self.host, "offeredCapabilities: the symbol \"a\\0b\" contains a zero byte") {
            $0.offeredCapabilities = ["a\0b"]
        }
        await Self.refusal(self.host, "desiredCapabilities: the symbol \"caf\u{e9}\" is not ASCII") {
            $0.desiredCapabilities = ["fine", "caf\u{e9}"]
        }
        await Self.refusal(self.host, "properties: the key \"a\\0b\" contains a zero byte") {
            $0.properties = [.symbol("a\0b"): 1]
        }
        await Self.refusal(self.host, "properties: a value cannot be encoded: a symbol that is not ASCII") {
            $0.properties = [.symbol("a"): .symbol("\u{e9}")]
        }
    }

    @Test func eventLoopsThatMakeNoSockets() async {
        await Self.refusal(self.host, "eventLoopGroup cannot make sockets") {
            $0.eventLoopGroup = NIOAsyncTestingEventLoop()
        }
        let error = await expectError(.invalidArgument) {
            var configuration = AMQPListener.Configuration()
            configuration.connection.eventLoopGroup = NIOAsyncTestingEventLoop()
            return try await AMQPListener.bind(port: 0, configuration: configuration)
        }
        #expect(error?.detail.contains("eventLoopGroup cannot make sockets") == true)
    }

    @Test func listenersThatCouldAdmitNoClient() async {
        var configurations = Array(repeating: AMQPListener.Configuration(), count: 3)
        configurations[0].sasl = AMQPServerSASL(allowsAnonymous: false)
        configurations[1].sasl.maxFrameSize = 100
        configurations[2].backlog = 0
        for (configuration, text) in zip(
            configurations,
            ["no client can log in", "maxFrameSize of SASL", "backlog is 0"]
        ) {
            let error = await expectError(.invalidArgument) {
                try await AMQPListener.bind(port: 0, configuration: configuration)
            }
            #expect(error?.scope == .call && error?.detail.contains(text) == true)
        }
    }

    // MARK: Error texts

    @Test func noFailureShowsAnInternalTextOfNIO() throws {
        let internalText = "connect(descriptor:addr:size:)"
        func error(_ code: CInt) -> IOError { IOError(errnoCode: code, reason: internalText) }
        for code in Int32(1)...133 {
            let text = NetworkError.cause(error(code))
            #expect(!text.contains("connect(") && !text.contains("errno") && !text.isEmpty)
            #expect(text.first?.isUppercase == false, "\(text)")
        }
        for failure: any Error in [
            ChannelError.ioOnClosedChannel, ChannelError.eof, ChannelError.connectTimeout(.seconds(1)),
            ChannelError.operationUnsupported, SocketAddressError.unsupported, CancellationError(),
        ] {
            let text = NetworkError.cause(failure)
            #expect(!text.contains("Error") && !text.contains("("), "\(text)")
        }
    }

    @Test func causesThatKeepASocketFromListening() {
        func bind(_ code: CInt, _ port: Int = 80) -> AMQPError {
            NetworkError.bind(IOError(errnoCode: code, reason: "bind(descriptor:ptr:bytes:)"), "::1", port)
        }
        #expect(
            bind(13)
                == AMQPError(
                    condition: .unauthorizedAccess,
                    detail: "cannot listen on [::1]:80: permission denied: ports below 1024 need a privilege"
                )
        )
        #expect(bind(13, 8080).detail == "cannot listen on [::1]:8080: permission denied")
        #expect(bind(24).condition == .resourceLimitExceeded && bind(24).detail.hasSuffix("too many open files"))
        #expect(bind(97).condition == .invalidArgument)
    }
}

/// A resolver that the connection must not call.
private final class UnaskedResolver: Resolver, Sendable {
    private let asked = Atomic(false)
    var isAsked: Bool { self.asked.load(ordering: .relaxed) }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> { self.refuse() }
    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> { self.refuse() }
    func cancelQueries() {}

    private func refuse() -> EventLoopFuture<[SocketAddress]> {
        self.asked.store(true, ordering: .relaxed)
        return MultiThreadedEventLoopGroup.singleton.any().makeFailedFuture(ChannelError.eof)
    }
}
