// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QpidProton

struct Connect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect",
        abstract: "Opens and closes connections, one after the other."
    )

    @Option var port: Int
    @Option var count: Int
    @OptionGroup var tls: TLSOptions

    func run() async throws {
        let clock = ContinuousClock()
        let start = clock.now
        for _ in 0..<self.count { try await Peer.connect(self.port, self.tls).close() }
        var usage = Usage()
        let seconds = (clock.now - start) / .seconds(1)
        usage.connections = self.count
        usage.seconds = seconds
        usage.connectionsPerSecond = Double(self.count) / seconds
        try usage.print()
    }
}

struct Idle: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle",
        abstract: "Opens connections and holds them until stdin ends."
    )

    @Option var port: Int
    @Option var count: Int
    @OptionGroup var tls: TLSOptions

    func run() async throws {
        var usage = Usage()
        usage.residentBytesBefore = Usage.residentBytes
        var connections: [AMQPConnection] = []
        for _ in 0..<self.count { connections.append(try await Peer.connect(self.port, self.tls)) }
        usage.connections = connections.count
        usage.residentBytesAfter = Usage.residentBytes
        try usage.print()
        await Input.end()
        guard connections.allSatisfy({ $0.error == nil }) else { throw Failure("a connection ended early") }
        Foundation.exit(0)
    }
}

struct Listen: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "listen",
        abstract: "Accepts connections until stdin ends."
    )

    @Option var port: Int
    @Option(help: "The number of open connections at which the line is printed.") var expect: Int?
    @OptionGroup var tls: TLSOptions

    func run() async throws {
        let listener = try await Peer.listen(self.port, self.tls)
        var usage = Usage()
        usage.residentBytesBefore = Usage.residentBytes
        let accepting = Task { [usage, expect = self.expect] in
            var usage = usage
            var connections: [AMQPConnection] = []
            for try await connection in listener {
                guard let expect else { continue }
                connections.append(connection)
                guard connections.count == expect else { continue }
                usage.connections = expect
                usage.residentBytesAfter = Usage.residentBytes
                try usage.print()
            }
        }
        await Input.end()
        accepting.cancel()
        await listener.close()
        Foundation.exit(0)
    }
}
