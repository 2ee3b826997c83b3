// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleFiles
import ExampleSupport
import QpidProton

/// The treatment of a message that does not fit.
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

/// The messages to send.
enum Source: Sendable {
    case messages(any MessageSource)
    case stream(FileBody)

    /// The number of skipped entries.
    var skipped: Int {
        if case .messages(let source) = self { source.skipped } else { 0 }
    }

    /// The number of symbolic links, which are never sent.
    var links: Int {
        if case .messages(let source) = self { source.links } else { 0 }
    }

    /// Returns the number of messages; `nil` if it is unknown.
    ///
    /// - Parameter count: The number of `--count`.
    func messageCount(_ count: Int?) -> Int? {
        switch self {
        case .messages(let source): count ?? (source is TextSource ? 1 : nil)
        case .stream: 1
        }
    }

    /// Whether creating a message may block the sending thread for a file.
    var isBlocking: Bool {
        if case .messages(let source) = self { source.isBlocking } else { false }
    }
}

/// The fields that the command-line options set in each message.
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
