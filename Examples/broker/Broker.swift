// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleSupport
import Foundation
import QpidProton

@main
enum Main {
    static func main() { Program.main(Broker.self) }
}

/// A small broker whose queues are in memory.
struct Broker: ExampleCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker",
        abstract: "A small AMQP 1.0 broker with queues in memory, which end with it.",
        discussion: """
            Examples:
              broker
              broker --listen 127.0.0.1:0 --json
              broker --listen [::1]:5672 --max-queue-bytes 64M --reject-above 1M
              broker --listen 0.0.0.0:5671 --tls-cert server.pem --tls-key server.key --users users.txt

            A queue appears when a link is attached to it. Several consumers of a queue get its messages in turn. When a consumer
            goes, the messages that it has not settled return to their places.
            At SIGUSR1 and at its end, the broker prints the counters: one line on stderr, or with --json one JSON object on
            stdout.

            Exit codes:
              0    it served until Ctrl-C or SIGTERM; a second signal ends it at once, with 130 or 143
              1    it could not listen; stderr names the cause
              64   options that cannot be used
            """
    )

    @Option(
        help: ArgumentHelp(
            "The address to listen on; port 0 selects a free one. amqps:// requires --tls-cert and --tls-key.",
            valueName: "host:port"
        )
    )
    var listen = "127.0.0.1:5672"

    @Option(
        help: ArgumentHelp(
            "The most bytes of one queue, with K, M or G: senders to a full queue get no credit until there is room.",
            valueName: "bytes"
        )
    )
    var maxQueueBytes: ByteSize?

    @Option(
        help: ArgumentHelp(
            "Reject larger encoded messages with amqp:resource-limit-exceeded.",
            valueName: "bytes"
        )
    )
    var rejectAbove: ByteSize?

    @Option(help: ArgumentHelp("The certificate (PEM); with it, all connections use TLS.", valueName: "file"))
    var tlsCert: String?

    @Option(help: ArgumentHelp("The key of the certificate (PEM).", valueName: "file"))
    var tlsKey: String?

    @Option(
        help: ArgumentHelp(
            "A UTF-8 file with lines of user:password: only these users may log in. From other machines they need TLS.",
            valueName: "file"
        )
    )
    var users: String?

    @Flag(help: "Print the counters as one JSON object on stdout.")
    var json = false

    func check() throws {
        guard (self.tlsCert == nil) == (self.tlsKey == nil) else {
            throw ValidationError("--tls-cert and --tls-key are used together: give both, or neither")
        }
        guard self.maxQueueBytes?.bytes != 0 else { throw ValidationError("--max-queue-bytes takes 1 byte or more") }
        _ = try self.place()
    }

    /// Returns the URL to listen on.
    private func place() throws -> AMQPURL {
        let place: AMQPURL
        do {
            place = try AMQPURL(listeningAt: self.listen)
        } catch {
            throw ValidationError("cannot use --listen: \(error.detail)")
        }
        guard place.username == nil, place.password == nil else {
            throw ValidationError("--listen takes no user and no password: give --users")
        }
        guard place.address?.isEmpty ?? true else {
            throw ValidationError("--listen takes no address: a queue appears when a link names it")
        }
        guard !place.isTLS || self.tlsCert != nil else {
            throw ValidationError("to listen with amqps, give --tls-cert and --tls-key")
        }
        return place
    }

    func run() async throws {
        let place = try self.place()
        var configuration = AMQPListener.Configuration()
        if let cert = self.tlsCert, let key = self.tlsKey {
            configuration.tls = AMQPServerTLS(identity: .files(certificateChain: cert, privateKey: key))
        }
        if let path = self.users {
            let users = try await Users(path)
            configuration.sasl = AMQPServerSASL { users.contains($0, password: $1) }
        }
        let listener = try await AMQPListener.bind(host: place.host, port: place.port, configuration: configuration)
        let host = place.host.contains(":") ? "[\(place.host)]" : place.host
        Console.error(
            "broker: listening on \(host):\(listener.port); the queues are in memory, and are lost when it ends"
        )
        let store = QueueStore(
            limits: Limits(queueBytes: self.maxQueueBytes?.bytes, messageBytes: self.rejectAbove?.bytes)
        )
        let isJSON = self.json
        let sources = Program.onSignals([SIGUSR1]) {
            do { try store.printCounters(json: isJSON) } catch { Console.error("broker: \(error)") }
        }
        defer { for source in sources { source.cancel() } }
        await Server(store: store).serve(listener)
        try store.printCounters(json: isJSON)
    }
}

/// The limits of a queue and a message, in bytes; `nil` for no limit.
struct Limits: Sendable {
    let queueBytes: Int?
    let messageBytes: Int?
}

/// The users that may log in.
struct Users: Sendable {
    private let passwords: [ByteKey: String]

    init(_ path: String) async throws {
        var passwords: [ByteKey: String] = [:]
        for (index, line) in try await TextFile.lines(of: path, within: nil).enumerated() where !line.isEmpty {
            let bytes = line.utf8
            guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon != bytes.startIndex else {
                throw Failure("line \(index + 1) of \(path) is not user:password")
            }
            passwords[ByteKey(String(line[..<colon]))] = String(line[bytes.index(after: colon)...])
        }
        guard !passwords.isEmpty else { throw Failure("\(path) names no user: write lines of user:password") }
        self.passwords = passwords
    }

    func contains(_ user: String, password: String) -> Bool {
        guard let expected = self.passwords[ByteKey(user)] else { return false }
        // The comparison takes the same time for every wrong password of one length.
        let (left, right) = (Array(expected.utf8), Array(password.utf8))
        return left.count == right.count && zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
