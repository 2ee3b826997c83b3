// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The program whose subcommands measure the flow control.
@main
struct Flow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flow",
        abstract: "Measures the flow control: the limits must be kept, and a stalled link must not stall others.",
        discussion: """
            Each line has a scenario, a figure and a value, and with a goal also the goal and 'ok' or 'short'. The exit code \
            is 1 if a goal was missed. Figures of a debug build have no meaning.

            Example: swift run -c release flow never-reads
            """,
        subcommands: [
            NeverReads.self, SlowConsumer.self, Priority.self, Neighbour.self, Queue.self,
            Soak.self, Offer.self, Consume.self, Sink.self,
        ]
    )
}

/// A timer that ends the process if it runs for too long.
enum Watchdog {
    static func start(_ name: String, limit: Duration) {
        // A write to a lost peer must be an error of the call and not end the process.
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread {
            Thread.sleep(forTimeInterval: limit / .seconds(1))
            Output.line("\(name) time over \(limit) goal \(limit) short")
            _exit(1)
        }
    }

    /// Ends the process with its parent, which holds the other end of stdin.
    static func endWithParent() {
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread {
            while readLine() != nil {}
            _exit(2)
        }
    }
}
