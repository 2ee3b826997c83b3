// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
package import QpidProton

/// How long an outage may last: `--reconnect [SECONDS]`.
package enum OutageLimit: ExpressibleByArgument, Equatable, CustomStringConvertible {
    case none
    case seconds(Double)
    case unusable(String)

    /// The parser takes a value that it cannot read for none, so this reads any, and ``ReconnectOptions`` checks it.
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

/// Whether a lost connection is opened again.
package struct ReconnectOptions: ParsableArguments {
    /// The option whose number may be left out.
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

    package var isOn: Bool { self.limit != nil }

    /// Throws for a number that cannot be used, and for several URLs without the option.
    package func check(_ connection: ConnectionOptions) throws {
        if case .unusable(let text)? = self.limit {
            throw ValidationError("\(Self.name) takes seconds, more than 0, or no number, and not '\(text)'")
        }
        guard self.isOn || connection.urls.count == 1 else {
            throw ValidationError("several URLs need \(Self.name): the program then connects to each in turn")
        }
    }

    /// The settings of a client.
    ///
    /// - Parameters:
    ///   - connection: The settings of its connections.
    ///   - first: How long the first connection may take where the option has no number; nil for no limit.
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
