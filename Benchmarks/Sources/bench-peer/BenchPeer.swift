// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// This library's contender in the benchmark: the same subcommands, options and lines as those in Benchmarks/Peers.
@main
struct BenchPeer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-peer",
        abstract: "One end of a measurement, for ./dev/bench.",
        discussion: """
            All is on 127.0.0.1. At the end one line of JSON on stdout. The exit code is 1 when the other end goes early.
            """,
        subcommands: [
            Receive.self, Send.self, Latency.self, Connect.self, Idle.self, Listen.self, Codec.self, Beside.self,
        ]
    )

    static func main() async {
        // A peer that is gone is an error of a call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        await self.main(nil)
    }
}

/// A failure with a text of one line.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ text: String) {
        self.description = text
    }
}

/// Which side of TLS to take, if any.
struct TLSOptions: ParsableArguments {
    @Option(
        name: .customLong("tls"),
        parsing: .upToNextOption,
        help: ArgumentHelp("The certificate and the key of a listener; the CA of a client.", valueName: "files")
    )
    var files: [String] = []
}

/// Waits until stdin ends.
enum Input {
    static func end() async {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                while readLine() != nil {}
                continuation.resume()
            }
        }
    }
}
