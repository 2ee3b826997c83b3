// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The parts that `dev/chaos` combines: a load on a client, a proxy that breaks connections, a consumer, and a queue.
@main
struct Chaos: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos",
        abstract: "Loads and faults for dev/chaos, which starts each part as a process of its own.",
        discussion: "Each part ends when its standard input ends. See dev/chaos --help.",
        subcommands: [Send.self, Consume.self, Proxy.self, Queue.self, Cost.self]
    )
}

/// The machine's time in nanoseconds. Python's `time.monotonic()` returns the same time.
enum Clock {
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// The lines of standard input. A process ends when they end.
enum Commands {
    static func lines() -> AsyncStream<String> {
        signal(SIGPIPE, SIG_IGN)
        let (stream, continuation) = AsyncStream<String>.makeStream()
        Thread.detachNewThread {
            while let line = readLine() { continuation.yield(line) }
            continuation.finish()
        }
        return stream
    }

    static func answer(_ line: String) {
        FileHandle.standardOutput.write(Data("\(line)\n".utf8))
    }
}
