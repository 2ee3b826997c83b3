// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport
import Testing

/// The routes of messages between this library and a foreign peer. Each compares the received with the sent messages.
struct Interop {
    let peer: ForeignPeer
    let lines: [String]

    init(_ peer: ForeignPeer, catalogues: [String]) throws {
        try self.init(peer, lines: catalogues.flatMap(CanonicalText.catalogue))
    }

    init(_ peer: ForeignPeer, lines: [String]) {
        self.peer = peer
        self.lines = lines
    }

    // MARK: Directly

    /// Connects to a listening peer, and sends.
    func sendToTheirListener(
        _ arguments: [String] = [],
        scheme: String = "amqp",
        configuration: AMQPConnection.Configuration = .init()
    ) async throws {
        let (process, port) = try await self.peer.listen(["--count", "\(self.lines.count)"] + arguments)
        try await self.send(to: "\(scheme)://localhost:\(port)", configuration)
        try await self.expectLines(of: process)
    }

    /// Connects to a listening peer, and receives.
    func receiveFromTheirListener(
        _ arguments: [String] = [],
        scheme: String = "amqp",
        configuration: AMQPConnection.Configuration = .init()
    ) async throws {
        let (process, port) = try await self.peer.listen(arguments, messages: self.lines)
        try await self.receive(from: "\(scheme)://localhost:\(port)", configuration)
        try await process.waitForSuccess()
    }

    /// Listens, and receives from a connecting peer.
    func listenToTheirSender(
        _ arguments: [String] = [],
        scheme: String = "amqp",
        configuration: AMQPListener.Configuration = .init()
    ) async throws {
        try await TestListener.with(configuration) { listener in
            let url = "\(scheme)://localhost:\(listener.listener.port)"
            try await self.peer.start(["send", url, "queue"] + arguments, messages: self.lines).waitForSuccess()
            // A peer that sends settled messages ends before they arrive.
            try await waitUntil("the messages") { listener.deliveries.count >= self.lines.count }
            self.expectEqual(try listener.deliveries.map { CanonicalText.of(try $0.decodeMessage()) })
        }
    }

    /// Listens, and sends to a connecting peer.
    func listenAndSendToTheirReceiver(
        _ arguments: [String] = [],
        scheme: String = "amqp",
        configuration: AMQPListener.Configuration = .init()
    ) async throws {
        let messages = try self.lines.map(CanonicalText.message)
        try await TestListener.with(configuration, offering: messages) { listener in
            let url = "\(scheme)://localhost:\(listener.listener.port)"
            let count = ["--count", "\(self.lines.count)"]
            try await self.expectLines(of: self.peer.start(["receive", url, "queue"] + count + arguments))
        }
    }

    // MARK: Through the example broker

    func sendThroughBroker() async throws {
        try await withBroker { try await self.sendThroughBroker(at: $1) }
    }

    func receiveThroughBroker() async throws {
        try await withBroker { try await self.receiveThroughBroker(at: $1) }
    }

    // MARK: Through any broker

    /// Sends to the broker, from which the peer receives.
    func sendThroughBroker(at url: String) async throws {
        let count = ["--count", "\(self.lines.count)"]
        let process = try self.peer.start(["receive", url, "queue"] + count)
        try await self.send(to: url, .init())
        try await self.expectLines(of: process)
    }

    /// Receives from the broker the messages that the peer has sent to it.
    func receiveThroughBroker(at url: String) async throws {
        try await self.peer.start(["send", url, "queue"], messages: self.lines).waitForSuccess()
        try await self.receive(from: url, .init())
    }

    // MARK: Parts

    private func send(to url: String, _ configuration: AMQPConnection.Configuration) async throws {
        let messages = try self.lines.map(CanonicalText.message)
        // The peer closes the connection with the last message's outcome.
        let connection = try await AMQPConnection.connect(to: url, configuration: configuration)
        let sender = try await connection.openSession().openSender(to: "queue")
        let outcomes = try await within("the outcomes") { await sender.send(contentsOf: messages) }
        #expect(outcomes.allSatisfy { $0 == .success(.accepted) })
        try await connection.close().check()
    }

    private func receive(from url: String, _ configuration: AMQPConnection.Configuration) async throws {
        let connection = try await AMQPConnection.connect(to: url, configuration: configuration)
        let receiver = try await connection.openSession().openReceiver(from: "queue")
        let count = self.lines.count
        let received = try await within("\(count) messages") {
            var received: [String] = []
            while received.count < count, let delivery = try await receiver.next() {
                received.append(CanonicalText.of(try delivery.decodeMessage()))
                delivery.accept()
            }
            return received
        }
        self.expectEqual(received)
        try await connection.close().check()
    }

    private func expectLines(of process: ChildProcess) async throws {
        try await process.waitForSuccess()
        self.expectEqual(process.lines)
    }

    private func expectEqual(_ received: [String]) {
        #expect(received.count == self.lines.count)
        let differences = zip(received, self.lines).filter { $0 != $1 }
        #expect(
            differences.isEmpty,
            "\(differences.count) lines differ; the first: \(String(describing: differences.first))"
        )
    }
}
