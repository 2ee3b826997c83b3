// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// This library's contender in the benchmark, with the same subcommands, options and lines as the programs in
/// Benchmarks/Peers.
@main
struct BenchPeer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-peer",
        abstract: "One end of a measurement, for ./dev/bench.",
        discussion: """
            All connections are on 127.0.0.1. Prints one line of JSON on stdout at the end. The exit code is 1 if the other \
            end closes early.
            """,
        subcommands: [
            Receive.self, Send.self, Latency.self, Connect.self, Idle.self, Listen.self, Codec.self, Beside.self,
        ]
    )

    static func main() async {
        // A write to a lost peer must be an error of the call and not end the process.
        signal(SIGPIPE, SIG_IGN)
        await self.main(nil)
    }
}

/// A failure with a one-line text.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ text: String) {
        self.description = text
    }
}

/// The files for TLS, as a listener or as a client.
struct TLSOptions: ParsableArguments {
    @Option(
        name: .customLong("tls"),
        parsing: .upToNextOption,
        help: ArgumentHelp("The certificate and the key of a listener; the CA of a client.", valueName: "files")
    )
    var files: [String] = []
}

/// The wait for the end of stdin.
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
