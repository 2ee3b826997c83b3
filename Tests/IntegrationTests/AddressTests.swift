// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Hosts with several addresses. The connection uses the address that answers, and no socket to another address stays
/// open.
@Suite(.timeLimit(.minutes(3)))
struct AddressTests {
    /// The behaviour of an address of a host.
    enum Address: String, CaseIterable, CustomTestStringConvertible {
        case alive, dead, silent
        var testDescription: String { self.rawValue }
    }

    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func connector(
        _ url: String,
        _ resolver: Addresses,
        _ configuration: AMQPConnection.Configuration = .init()
    ) throws -> Connector {
        try Connector(url: AMQPURL(url), configuration: configuration, logger: self.quiet, resolver: resolver)
    }

    /// Fails to connect with a resolver, and returns the error.
    private static func refusal(
        _ resolver: Addresses,
        _ url: String = "amqp://host.example:5672",
        timeout: Duration = .seconds(10)
    ) async throws -> AMQPError {
        var configuration = AMQPConnection.Configuration()
        configuration.connectTimeout = timeout
        let connector = try self.connector(url, resolver, configuration)
        return try await failure(of: "connecting", within: .seconds(30)) { try await connector.connect() }
    }

    // MARK: One address answers

    @Test(arguments: [
        [Address.dead, .alive], [.alive, .dead], [.silent, .alive], [.alive, .silent], [.dead, .silent, .dead, .alive],
        [.silent, .silent, .alive, .alive], [.alive, .alive, .alive],
    ])
    func theConnectionUsesTheAddressThatAnswered(_ addresses: [Address]) async throws {
        let silent = try SilentPort()
        let dead = try RawSocket()
        try await TestListener.with { listener in
            let remains = Remains()
            var configuration = AMQPConnection.Configuration()
            remains.share(&configuration)
            // All addresses are of one family and keep the order of the list. AAAA and A addresses would alternate.
            let ports = [Address.alive: listener.listener.port, .dead: dead.port, .silent: silent.port]
            let list = try addresses.map { try SocketAddress(ipAddress: "127.0.0.1", port: ports[$0] ?? 0) }
            let resolver = Addresses(v6: list, v4: [])
            do {
                let connector = try Self.connector("amqp://host.example:5672", resolver, configuration)
                let connection = try await within("connecting") { try await connector.connect() }
                remains.watch(connection, "client")
                #expect(connection.remoteAddress?.contains(":\(listener.listener.port)") == true)
                let sender = try await connection.openSession().openSender(to: "queue")
                #expect(try await sender.send(AMQPMessage(body: "hello")) == .accepted)
                // The sockets of the slower addresses are closed while the connection is open.
                try await waitUntil("the losers' sockets are closed") { silent.guests == 0 }
                try await connection.close().check()
            }
            try await waitUntil("nothing is left: \(remains.left)") { remains.left.isEmpty }
            #expect(listener.connections.count == 1)
        }
    }

    @Test(.enabled(if: hasIPv6, "this machine has no IPv6"), arguments: [true, false])
    func eitherAddressFamilyMayAnswer(_ isIPv6: Bool) async throws {
        try await TestListener.with(host: isIPv6 ? "::1" : "127.0.0.1") { listener in
            let port = listener.listener.port
            let resolver = try Addresses(
                v6: [SocketAddress(ipAddress: "::1", port: port)],
                v4: [SocketAddress(ipAddress: "127.0.0.1", port: port)]
            )
            let connection = try await Self.connector("amqp://host.example:\(port)", resolver).connect()
            let sender = try await connection.openSession().openSender(to: "queue")
            #expect(try await sender.send(AMQPMessage(body: "hello")) == .accepted)
            try await connection.close().check()
        }
    }

    @Test(arguments: [[Address.dead, .alive], [.silent, .alive], [.alive, .dead]])
    func tlsAndALoginUseTheAddressThatAnswered(_ addresses: [Address]) async throws {
        let files = try TestCertificates.files()
        let silent = try SilentPort()
        let dead = try RawSocket()
        var listening = AMQPListener.Configuration()
        listening.tls = AMQPServerTLS(identity: files.server)
        listening.sasl = AMQPServerSASL { user, password in user == "ann" && password == "secret" }
        try await TestListener.with(listening) { listener in
            let ports = [Address.alive: listener.listener.port, .dead: dead.port, .silent: silent.port]
            let list = try addresses.map { try SocketAddress(ipAddress: "127.0.0.1", port: ports[$0] ?? 0) }
            var configuration = AMQPConnection.Configuration()
            configuration.tls.trustRoots = files.authority
            let connector = try Self.connector("amqps://ann:secret@localhost:5671", Addresses(v6: list), configuration)
            let connection = try await connector.connect()
            try await waitUntil("the listener has the connection") { !listener.connections.isEmpty }
            #expect(listener.connections.map { $0.identity?.username } == ["ann"])
            try await connection.close().check()
        }
    }

    /// Uses the system's resolver, a hosts file of its own, and the executable that users run.
    @Test(.enabled(if: MountNamespace.isPermitted, "no mount namespace may be made here"))
    func senderReachesABrokerOnTheSecondAddressOfLocalhost() async throws {
        let folder = try TemporaryFolder()
        let hosts = folder.file("hosts")
        try Data("::1 localhost\n127.0.0.1 localhost\n".utf8).write(to: hosts)
        let program = ExampleProcess.folder.appendingPathComponent("sender").path
        try ForeignPeer.require(program, "run swift build")
        try await TestListener.with { listener in
            let url = "amqp://localhost:\(listener.listener.port)/queue"
            let script = "mount --bind '\(hosts.path)' /etc/hosts && exec '\(program)' \(url) --body hello"
            let sender = try ChildProcess(MountNamespace.program, ["-m", "sh", "-c", script])
            try await sender.waitForSuccess()
            #expect(listener.deliveries.count == 1)
        }
    }

    // MARK: No address answers

    @Test func theErrorNamesEachAddressAndItsCause() async throws {
        let (first, second) = (try RawSocket(), try RawSocket())
        let resolver = Addresses(
            v6: [try SocketAddress(ipAddress: "127.0.0.1", port: first.port)],
            v4: [try SocketAddress(ipAddress: "127.0.0.1", port: second.port)]
        )
        let error = try await Self.refusal(resolver)
        #expect(error.scope == .connection && error.condition == .connectFailed)
        let texts = [first, second].map { "127.0.0.1:\($0.port): connection refused" }
        #expect(error.detail == "cannot connect to host.example:5672: \(texts.joined(separator: "; "))")
    }

    @Test(.enabled(if: hasIPv6, "this machine has no IPv6"))
    func anIPv6AddressIsNamedInBrackets() async throws {
        let socket = try RawSocket()
        let error = try await connectFailure("amqp://[::1]:\(socket.port)")
        #expect(error.detail == "cannot connect to [::1]:\(socket.port): connection refused")
    }

    @Test func aTimeoutNamesTheUnansweredAddresses() async throws {
        let silent = try SilentPort()
        let dead = try RawSocket()
        let list = try [dead.port, silent.port].map { try SocketAddress(ipAddress: "127.0.0.1", port: $0) }
        let error = try await Self.refusal(Addresses(v6: list), timeout: .seconds(1))
        #expect(error.scope == .connection && error.condition == .timeout)
        let texts = [
            "127.0.0.1:\(dead.port): connection refused", "127.0.0.1:\(silent.port): no answer within 1.0 seconds",
        ]
        #expect(error.detail == "cannot connect to host.example:5672: \(texts.joined(separator: "; "))")
        try await waitUntil("the socket is closed") { silent.guests == 0 }
    }

    @Test func theErrorNamesTheFirstOfManyAddresses() async throws {
        let socket = try RawSocket()
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: socket.port)
        let error = try await Self.refusal(Addresses(v6: Array(repeating: address, count: 20)))
        #expect(error.detail.split(separator: ";").count == 9)
        #expect(error.detail.hasSuffix("; 12 more addresses failed"))
    }

    @Test(arguments: [(EAI_NONAME, "check the spelling and the resolver"), (EAI_AGAIN, "the resolver gave no answer")])
    func anUnknownNameReportsTheResolversCause(_ code: Int32, _ text: String) async throws {
        let found = #expect(throws: SocketAddressError.UnknownHost.self) {
            try SocketAddress.makeAddressResolvingHost("no-such.invalid", port: 5672)
        }
        var unknown = try #require(found)
        unknown.errorCode = Int(code)
        unknown.errorDescription = "internal text"
        let error = try await Self.refusal(Addresses(failing: unknown))
        #expect(error.scope == .connection && error.condition == .connectFailed)
        #expect(error.detail == "cannot connect to host.example:5672: the host's name was not found: \(text)")
    }

    @Test func aSilentResolverEndsAtTheConnectTimeout() async throws {
        let error = try await Self.refusal(Addresses(failing: nil), timeout: .milliseconds(200))
        #expect(error.condition == .timeout)
        #expect(
            error.detail
                == "cannot connect to host.example:5672: the resolver did not find the host's name within 0.2 seconds"
        )
    }

    @Test func aPasswordIsNotSentToANameOfAnotherMachine() async throws {
        // The address is in TEST-NET-1 of RFC 5737. The library refuses it first, so nothing is sent there.
        let address = try SocketAddress(ipAddress: "192.0.2.1", port: 5672)
        let error = try await Self.refusal(Addresses(v6: [address]), "amqp://ann:s3cret@host.example:5672")
        #expect(error.scope == .call && error.condition == .invalidArgument)
        #expect(error.detail.contains("would send the password unencrypted") && !error.detail.contains("s3cret"))
    }

    // MARK: Cancellation

    @Test func cancellationClosesTheSocketsAndTriesNoFurtherAddress() async throws {
        let silent = try SilentPort()
        let remains = Remains()
        var configuration = AMQPConnection.Configuration()
        configuration.connectTimeout = .seconds(3_600)
        remains.share(&configuration)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: silent.port)
        let resolver = Addresses(v6: Array(repeating: address, count: 50))
        let connector = try Self.connector("amqp://host.example:5672", resolver, configuration)
        let task = Task { try await connector.connect() }
        try await waitUntil("two addresses are tried") { silent.guests >= 2 }
        task.cancel()
        let error = try await failure(of: "connecting") { try await task.value }
        #expect(error.condition == .cancelled)
        try await waitUntil("the sockets are closed") { silent.guests == 0 }
        #expect(remains.left.isEmpty)
    }

    @Test func cancellationDuringTheNameResolution() async throws {
        let resolver = Addresses(failing: nil)
        var configuration = AMQPConnection.Configuration()
        configuration.connectTimeout = .seconds(2)
        let connector = try Self.connector("amqp://host.example:5672", resolver, configuration)
        let task = Task { try await connector.connect() }
        try await waitUntil("the name is looked up") { resolver.isAsked }
        task.cancel()
        let error = try await failure(of: "connecting", within: .seconds(30)) {
            try await task.value
        }
        #expect(error.condition == .cancelled)
    }
}

/// A resolver for one host.
private final class Addresses: Resolver, Sendable {
    private let v6: [SocketAddress]
    private let v4: [SocketAddress]
    private let failure: (any Error)?
    private let isSilent: Bool
    private let open = Mutex<[EventLoopPromise<[SocketAddress]>]>([])

    init(v6: [SocketAddress], v4: [SocketAddress] = []) {
        self.v6 = v6
        self.v4 = v4
        self.failure = nil
        self.isSilent = false
    }

    /// Creates a resolver that finds no address. It fails with `error`, or never answers if that is `nil`.
    init(failing error: (any Error)?) {
        self.v6 = []
        self.v4 = []
        self.failure = error
        self.isSilent = error == nil
    }

    var isAsked: Bool { self.open.withLock { !$0.isEmpty } }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> { self.answer(self.v4) }
    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> { self.answer(self.v6) }

    func cancelQueries() {
        for promise in self.open.withLock({ $0 }) { promise.fail(ChannelError.eof) }
    }

    private func answer(_ addresses: [SocketAddress]) -> EventLoopFuture<[SocketAddress]> {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        if self.isSilent {
            let promise = loop.makePromise(of: [SocketAddress].self)
            self.open.withLock { $0.append(promise) }
            return promise.futureResult
        }
        if let failure = self.failure { return loop.makeFailedFuture(failure) }
        return loop.makeSucceededFuture(addresses)
    }
}

/// A port of 127.0.0.1 whose backlog is full, so that the system ignores new connections.
private final class SilentPort: Sendable {
    private let socket: RawSocket
    private let fillers: [RawSocket]
    /// The local addresses of the sockets that fill the backlog.
    private let own: Set<Substring>

    init() throws {
        let socket = try RawSocket()
        socket.listen(backlog: 0)
        self.socket = socket
        self.fillers = try (0..<8).map { _ in try RawSocket(connectingTo: socket.port) }
        self.own = Set(Self.connections(to: socket.port).map(\.local))
    }

    var port: Int { self.socket.port }
    /// The number of other sockets that have sent a SYN to the port without an answer.
    var guests: Int {
        Self.connections(to: self.port).count { $0.isUnanswered && !self.own.contains($0.local) }
    }

    /// Returns the kernel's table of TCP sockets. Foundation reads only its first 4 KiB.
    private static func table() -> String {
        guard let file = fopen("/proc/net/tcp", "r") else { return "" }
        defer { fclose(file) }
        var table: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&piece, 1, piece.count, file), count > 0 { table += piece[..<count] }
        return String(decoding: table, as: UTF8.self)
    }

    /// Returns the sockets that are connected, or connecting, to a port of 127.0.0.1.
    private static func connections(to port: Int) -> [(local: Substring, isUnanswered: Bool)] {
        let table = Self.table()
        let peer = "0100007F:" + String(format: "%04X", port)
        return table.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            return fields.count > 3 && fields[2] == peer ? (fields[1], fields[3] == "02") : nil
        }
    }
}

/// Whether this machine has an IPv6 loopback address.
private let hasIPv6: Bool = {
    let table = try? String(contentsOfFile: "/proc/net/if_inet6", encoding: .utf8)
    return table?.contains("00000000000000000000000000000001") ?? false
}()

/// A mount namespace whose mounts only one process sees.
private enum MountNamespace {
    static let program = "/usr/bin/unshare"

    static let isPermitted: Bool = {
        guard FileManager.default.isExecutableFile(atPath: Self.program) else { return false }
        return (try? ChildProcess.run(Self.program, ["-m", "sh", "-c", "mount --bind /etc/hosts /etc/hosts"])) != nil
    }()
}
