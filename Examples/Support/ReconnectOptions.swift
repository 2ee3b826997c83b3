// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
package import QpidProton

/// The longest outage that a program survives: `--reconnect [SECONDS]`.
package enum OutageLimit: ExpressibleByArgument, Equatable, CustomStringConvertible {
    case none
    case seconds(Double)
    case unusable(String)

    /// Accepts any text, because the parser treats an unreadable value as a missing one. ``ReconnectOptions`` checks
    /// the text.
    package init(argument: String) {
        if argument == Self.none.description {
            self = .none
        } else if let seconds = Double(argument), seconds > 0, seconds <= 1e9 {
            self = .seconds(seconds)
        } else {
            self = .unusable(argument)
        }
    }

    package var description: String {
        switch self {
        case .none: "no limit"
        case .seconds(let seconds): "\(seconds)"
        case .unusable(let text): text
        }
    }
}

/// The option to reopen a lost connection.
package struct ReconnectOptions: ParsableArguments {
    /// The option whose number is optional.
    static let name = "--reconnect"

    @Option(
        name: .customLong("reconnect"),
        defaultAsFlag: OutageLimit.none,
        parsing: .next,
        help: ArgumentHelp(
            """
            Connect again after a loss, to each URL in turn, at once and then with random delays of up to 30 s. An outage may \
            last this long. The first connection may take as long; without a number, as long as --timeout. Several URLs need \
            this option.
            """,
            valueName: "seconds"
        )
    )
    package var limit: OutageLimit?

    package init() {}

    /// Returns whether an argument after the option is neither another option nor a URL. Such a word has no colon,
    /// slash or `@`, and no dot unless it begins with a digit, as `1.5s` does.
    static func isWord(_ argument: String) -> Bool {
        guard !argument.hasPrefix("-"), argument != "localhost", !argument.contains(where: { "/:@[".contains($0) })
        else {
            return false
        }
        let parts = argument.split(separator: ".", omittingEmptySubsequences: false).count
        return parts == 1 || parts == 2 && argument.first?.isNumber == true
    }

    package var isOn: Bool { self.limit != nil }

    /// Throws for an unusable number, and for several URLs without the option.
    package func check(_ connection: ConnectionOptions) throws {
        if case .unusable(let text)? = self.limit {
            let remedy = text.first?.isLetter == true ? ": begin a URL after it with amqp:// or amqps://" : ""
            throw ValidationError("\(Self.name) takes seconds, more than 0, or no number, and not '\(text)'\(remedy)")
        }
        guard self.isOn || connection.urls.count == 1 else {
            throw ValidationError(
                "several URLs need \(Self.name): the program then connects to each in turn; quote a text that has spaces"
            )
        }
    }

    /// Returns the error, with the advice to use this option if the connection was lost.
    package func advising(_ error: any Error) -> any Error {
        guard !self.isOn, let lost = error as? AMQPError, lost.ending == .lost else { return error }
        return Failure("\(Program.text(of: lost)); with \(Self.name), the program connects again")
    }

    /// Returns the settings of a client.
    ///
    /// - Parameters:
    ///   - connection: The settings of its connections.
    ///   - first: How long the first connection may take if the option has no number; `nil` for no limit.
    package func configuration(
        _ connection: AMQPConnection.Configuration,
        first: Duration?
    ) -> AMQPClient.Configuration {
        var configuration = AMQPClient.Configuration()
        let idleTimeout = configuration.connection.idleTimeout
        configuration.connection = connection
        configuration.connection.idleTimeout = idleTimeout
        configuration.recovery.firstConnectionTimeout = first
        if case .seconds(let seconds)? = self.limit {
            configuration.recovery.firstConnectionTimeout = .seconds(seconds)
            configuration.recovery.giveUpAfter = .seconds(seconds)
        }
        return configuration
    }
}
