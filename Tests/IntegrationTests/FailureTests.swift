// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOPosix
import QpidProton
import TestSupport
import Testing

/// Unreachable servers and silent peers. Each case has its error, within its deadline.
@Suite(.timeLimit(.minutes(3)))
struct FailureTests {
    // MARK: No connection

    @Test func aRefusedConnectionNamesTheAddressAndTheCause() async throws {
        let socket = try RawSocket()
        let error = try await connectFailure("amqp://127.0.0.1:\(socket.port)")
        #expect(
            error.scope == .connection && error.condition == .connectFailed && error.origin == .local
                && error.isRetryable && error.ending == .refused && error.underlying != nil
        )
        #expect(error.detail == "cannot connect to 127.0.0.1:\(socket.port): connection refused")
    }

    @Test func anUnknownNameIsAConnectFailure() async throws {
        let error = try await connectFailure("amqp://no-such-host.invalid:5672")
        #expect(error.condition == .connectFailed)
        #expect(error.detail.contains("no-such-host.invalid:5672") && error.detail.contains("not found"))
    }

    @Test func anUnansweredSYNEndsAtTheConnectTimeout() async throws {
        let socket = try RawSocket()
        socket.listen(backlog: 0)
        // These connections fill the backlog, and the system then ignores further ones.
        let fillers = try (0..<8).map { _ in try RawSocket(connectingTo: socket.port) }
        let error = try await connectFailure("amqp://127.0.0.1:\(socket.port)", within: .seconds(30)) {
            $0.connectTimeout = .milliseconds(300)
        }
        #expect(error.condition == .timeout)
        #expect(error.detail.contains("no answer within 0.3 seconds"))
        withExtendedLifetime(fillers) {}
    }

    @Test func aResetSocketIsNamedInPlainWords() async throws {
        try await TestListener.with { listener in
            try await FaultProxy.with(to: listener.listener.port) { proxy in
                let connection = try await AMQPConnection.connect(to: proxy.url)
                let ending = Task { try await connection.waitUntilClosed() }
                proxy.end(.reset, .toClient)
                let error = try await failure(of: "the connection") { try await ending.value }
                #expect(
                    error.scope == .connection && error.condition == .connectionLost && error.ending == .lost
                        && error.isRetryable
                )
                #expect(error.detail == "connection reset by peer")
            }
        }
    }

    // MARK: Listening

    @Test func aPortInUseIsRefused() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        let port = listener.port
        let error = try await failure(of: "binding") { try await AMQPListener.bind(port: port) }
        #expect(error.scope == .call && error.condition == .resourceLocked)
        let remedy = "stop the program that listens there, or choose another port"
        #expect(error.detail == "cannot listen on 127.0.0.1:\(port): address already in use: \(remedy)")
        await listener.close()
        // The port can be bound once it is free.
        try await AMQPListener.bind(port: port).close()
    }

    @Test func anAddressOfAnotherMachineCannotBeBound() async throws {
        // The address is in TEST-NET-1 of RFC 5737.
        let error = try await failure(of: "binding") { try await AMQPListener.bind(host: "192.0.2.1", port: 0) }
        #expect(error.scope == .call && error.condition == .invalidArgument)
        #expect(error.detail == "cannot listen on 192.0.2.1:0: the address does not belong to this machine")
    }

    @Test func aNameThatIsNotFoundCannotBeBound() async throws {
        let error = try await failure(of: "binding") { try await AMQPListener.bind(host: "no-such.invalid", port: 0) }
        #expect(error.scope == .call && error.condition == .invalidArgument)
        #expect(error.detail.hasPrefix("cannot listen on no-such.invalid:0: the host's name was not found"))
    }

    @Test(arguments: [-1, 65_536, 70_000, Int.max])
    func aPortOutOfRangeIsRefused(_ port: Int) async throws {
        let binding = try await failure(of: "binding") { try await AMQPListener.bind(port: port) }
        let connecting = try await failure(of: "connecting") {
            try await AMQPConnection.connect(host: "::1", port: port)
        }
        let url = try await failure(of: "connecting") {
            try await AMQPConnection.connect(to: AMQPURL(host: "localhost", port: port))
        }
        #expect(binding.detail == "port is \(port): it must be from 0 to 65535")
        #expect(connecting.detail == "port is \(port): it must be from 1 to 65535" && url.detail == connecting.detail)
        for error in [binding, connecting, url] {
            #expect(error.scope == .call && error.condition == .invalidArgument)
        }
    }

    // MARK: No AMQP

    @Test(arguments: [
        ("HTTP", Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), "48 54 54 50"),
        ("AMQP 0-9-1", Array("AMQP".utf8) + [0, 0, 9, 1], "0-9-1"),
    ])
    func anotherProtocol(_ name: String, _ greeting: [UInt8], _ hint: String) async throws {
        try await ScriptedPeer.with(login: .init(greeting: greeting)) { _, url in
            let error = try await connectFailure(url)
            #expect(error.condition == .connectionFramingError, "\(error)")
        }
        try await ScriptedPeer.with(login: .init(greeting: greeting)) { _, url in
            let error = try await connectFailure(url) { $0.sasl = .none }
            #expect(error.condition == .connectionFramingError, "\(error)")
        }
    }

    @Test func aSocketThatClosesAtOnceIsALoss() async throws {
        try await ScriptedPeer.with(login: .init(greeting: [])) { _, url in
            let error = try await connectFailure(url)
            #expect(error.condition == .connectionLost)
        }
    }

    @Test func aCloseDuringTheOpenReportsThePeersError() async throws {
        let reason = AMQPError(
            scope: .connection,
            condition: .notAllowed,
            detail: "go away",
            info: [.symbol("why"): "because"]
        )
        try await ScriptedPeer.with(react: { kind, _ in kind == .open ? .drop : .answer }) { _, url in
            let error = try await connectFailure(url)
            #expect(error.condition == .connectionLost)
        }
        // The standard requires an `open` with the `close` directly after it.
        try await TestListener.with { listener in
            let service = Task { () -> Void in
                try await waitUntil("a connection") { !listener.connections.isEmpty }
                try await listener.connections[0].close(reason).check()
            }
            let error = try await failure(of: "waiting") {
                try await AMQPConnection.connect(to: listener.url).waitUntilClosed()
            }
            #expect(error.condition == .notAllowed && error.detail == "go away" && error.origin == .peer)
            #expect(error.info == reason.info && error.scope == .connection)
            try await service.value
        }
    }

    // MARK: Silence

    @Test(arguments: ["SASL header", "SASL init", "open"])
    func aSilentLoginOrOpenEndsAtTheOpenTimeout(_ silentAt: String) async throws {
        var login = ScriptedPeer.Login()
        login.answersHeader = silentAt != "SASL header"
        login.answersInit = silentAt != "SASL init"
        try await ScriptedPeer.with(login: login, react: { kind, _ in kind == .open ? .ignore : .answer }) { _, url in
            let error = try await connectFailure(url, within: .seconds(30)) { $0.openTimeout = .milliseconds(300) }
            #expect(error.condition == .timeout && error.scope == .call)
            let place = url.dropFirst("amqp://".count)
            let remedy = "check that this port speaks AMQP 1.0 without TLS"
            #expect(error.detail == "\(place) did not open the connection within 0.3 seconds: \(remedy)")
        }
    }

    @Test func aResetBeforeTheOpenNamesThePlaceAndTheRemedy() async throws {
        let listener = try RawSocket()
        listener.listen(backlog: 8)
        let connecting = Task { try await AMQPConnection.connect(to: "amqp://127.0.0.1:\(listener.port)") }
        let listening = listener.descriptor
        // On a thread that may block, because the connecting task needs a thread of the pool.
        let socket = try await NIOThreadPool.singleton.runIfActive {
            let socket = accept(listening, nil, nil)
            var header = [UInt8](repeating: 0, count: 8)
            // The reset follows the client's first bytes, so that the socket is open on both sides.
            _ = recv(socket, &header, header.count, 0)
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
            close(socket)
            return socket
        }
        #expect(socket >= 0)
        let error = try await failure(of: "connecting") { try await connecting.value }
        #expect(error.condition == .connectionLost && error.ending == .refused && error.isRetryable)
        let text =
            "127.0.0.1:\(listener.port) did not open the connection: connection reset by peer: check that this port"
        #expect(error.detail == "\(text) speaks AMQP 1.0 without TLS")
    }

    @Test(arguments: [Frame.Code.begin, .attach, .detach, .end, .close, .flow])
    func anUnansweredCallEndsAtTheOperationTimeout(_ silentAt: Frame.Code) async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.operationTimeout = .seconds(1)
        let settings = configuration
        try await ScriptedPeer.with(react: { kind, _ in kind == silentAt ? .ignore : .answer }) { _, url in
            let connection = try await AMQPConnection.connect(to: url, configuration: settings)
            let error = try await failure(of: "\(silentAt)", within: .seconds(30)) {
                let session = try await connection.openSession()
                let receiver = try await session.openReceiver(from: "queue")
                if silentAt == .flow { _ = try await receiver.receive(timeout: .zero) }
                try await receiver.close().check()
                try await session.close().check()
                try await connection.close().check()
            }
            #expect(error.condition == .timeout, "\(error)")
            #expect(error.detail.contains("did not answer the") && error.detail.contains("within 1.0 seconds"))
        }
    }

    // MARK: Refusals

    @Test func aMissingAddressIsRefusedOnItsLink() async throws {
        try await TestListener.with { listener in
            try await AMQPConnection.withConnection(to: listener.url) { connection in
                let session = try await connection.openSession()
                let sending = try await failure(of: "the sender") { try await session.openSender(to: "nowhere") }
                let receiving = try await failure(of: "the receiver") {
                    try await session.openReceiver(from: "nowhere")
                }
                for error in [sending, receiving] {
                    #expect(
                        error.scope == .link && error.condition == .notFound && error.origin == .peer
                            && !error.isRetryable
                    )
                    #expect(error.detail == "there is no such node")
                }
                // The session continues.
                let sender = try await session.openSender(to: "somewhere")
                #expect(try await sender.send(AMQPMessage(body: "x")) == .accepted)
            }
        }
    }

    @Test func aRefusedSessionLeavesTheConnectionOpen() async throws {
        let refusal = AMQPError(scope: .session, condition: .resourceLimitExceeded, detail: "no more")
        try await ScriptedPeer.with(react: { kind, _ in kind == .begin ? .end(refusal) : .answer }) { _, url in
            let connection = try await AMQPConnection.connect(to: url)
            // AMQP refuses a session by beginning and ending it, so the session may seem open for a moment.
            let error = try await failure(of: "the session") { try await connection.openSession().waitUntilClosed() }
            #expect(error.scope == .session && error.condition == .resourceLimitExceeded && error.origin == .peer)
            #expect(error.detail == "no more" && connection.error == nil)
            try await connection.close().check()
        }
    }
}
