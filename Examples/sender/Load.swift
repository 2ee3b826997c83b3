// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleFiles
import ExampleSupport
import QpidProton

/// What becomes of a message for which there is no room.
enum Overflow: String, CaseIterable, ExpressibleByArgument {
    case suspend
    case fail
    case dropOldest = "drop-oldest"
    case dropNewest = "drop-newest"

    var policy: AMQPOverflow {
        switch self {
        case .suspend: .suspend
        case .fail: .fail
        case .dropOldest: .dropOldest
        case .dropNewest: .dropNewest
        }
    }
}

/// What is sent.
enum Source: Sendable {
    case messages(any MessageSource)
    case stream(FileBody)

    /// What should have been sent and was left out.
    var skipped: Int {
        if case .messages(let source) = self { source.skipped } else { 0 }
    }

    /// The symbolic links, which are never sent.
    var links: Int {
        if case .messages(let source) = self { source.links } else { 0 }
    }

    /// How many messages there are; nil where that is not known.
    ///
    /// - Parameter count: The number of `--count`.
    func messageCount(_ count: Int?) -> Int? {
        switch self {
        case .messages(let source): count ?? (source is TextSource ? 1 : nil)
        case .stream: 1
        }
    }

    /// Whether making a message may wait for a file on the thread that sends.
    var isBlocking: Bool {
        if case .messages(let source) = self { source.isBlocking } else { false }
    }
}

/// What the options of the command line set in each message.
struct Template: Sendable {
    let header: AMQPHeader
    let properties: [(key: String, value: String)]
    let contentType: AMQPSymbol?

    func apply(to message: inout AMQPMessage) {
        message.header = self.header
        for property in self.properties { message.applicationProperties[property.key] = .string(property.value) }
        if let contentType = self.contentType { message.properties.contentType = contentType }
    }
}
