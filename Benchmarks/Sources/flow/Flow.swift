// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The promises of flow control, each measured by a subcommand.
@main
struct Flow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flow",
        abstract: "Measures what the limits promise: that they hold, and that none stalls what could move.",
        discussion: """
            Each line is a scenario, a figure and a value, and where there is a goal the goal and 'ok' or 'short'. The exit \
            code is 1 when a goal was missed. Figures of a debug build mean nothing.

            Example: swift run -c release flow never-reads
            """,
        subcommands: [
            NeverReads.self, SlowConsumer.self, Priority.self, Neighbour.self, Queue.self,
            Soak.self, Offer.self, Consume.self, Sink.self,
        ]
    )
}

/// Ends the process when it takes longer than it may, whatever hangs.
enum Watchdog {
    static func start(_ name: String, limit: Duration) {
        // A peer that is gone is an error of a call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread {
            Thread.sleep(forTimeInterval: limit / .seconds(1))
            Output.line("\(name) time over \(limit) goal \(limit) short")
            _exit(1)
        }
    }

    /// Ends the process with the one that started it, which holds the other end of stdin.
    static func endWithParent() {
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread {
            while readLine() != nil {}
            _exit(2)
        }
    }
}
