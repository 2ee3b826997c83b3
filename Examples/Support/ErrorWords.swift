// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton

/// The words that replace the names of Swift properties in the library's errors.
package enum ErrorWords: Sendable {
    /// Options, such as `--ca`.
    case commandLine
    /// Environment variables, such as `AMQP_TLS_AUTHORITIES`.
    case environment

    /// The replaced phrases, followed by the bare names that remain.
    private static let words: [(of: String, option: String, variable: String)] = [
        (", or set serverName", "", ", or set AMQP_TLS_SERVER_NAME"),
        (" or set serverName", "", " or set AMQP_TLS_SERVER_NAME"),
        ("set trustRoots to", "give with --ca", "set AMQP_TLS_AUTHORITIES to a file with"),
        ("set trustRoots", "give --ca", "set AMQP_TLS_AUTHORITIES"),
        (
            "set the identity of the TLS configuration", "give --cert and --key",
            "set AMQP_TLS_CERTIFICATE and AMQP_TLS_KEY"
        ),
        (
            "set the identity of its TLS configuration", "give it a certificate and its key",
            "give it a certificate and its key"
        ),
        (
            "set an identity that", "give with --cert and --key a certificate that",
            "set AMQP_TLS_CERTIFICATE and AMQP_TLS_KEY to a certificate that"
        ),
        ("set allowsPlainWithoutTLS", "give --insecure", "set AMQP_ALLOWS_PLAIN_WITHOUT_TLS to true"),
        ("minimumVersion", "the TLS versions", "AMQP_TLS_MINIMUM_VERSION"),
        ("trustRoots", "--ca", "AMQP_TLS_AUTHORITIES"),
        ("allowsPlainWithoutTLS", "--insecure", "AMQP_ALLOWS_PLAIN_WITHOUT_TLS"),
        ("connectTimeout", "--timeout", "AMQP_CONNECT_TIMEOUT"),
        ("openTimeout", "--timeout", "AMQP_OPEN_TIMEOUT"),
        ("operationTimeout", "--timeout", "AMQP_OPERATION_TIMEOUT"),
    ]

    /// Returns the text of an error in the user's words. The text of a local error has no condition.
    package func text(of error: any Error) -> String {
        guard let error = error as? AMQPError else { return "\(error)" }
        var text = "\(error)"
        if error.origin == .local, !error.detail.isEmpty, let name = text.range(of: "\(error.condition.rawValue): ") {
            text.removeSubrange(name)
        }
        // Other errors may contain a host name such as amqp.example, which is no key.
        if self == .environment, error.condition == .invalidArgument {
            text.replace(/\bamqp(?:\.[A-Za-z]+)+/) { Self.variable(of: String($0.output)) }
        }
        return self.translate(text)
    }

    /// Returns a text of the library with the user's words in place of Swift properties.
    func translate(_ text: String) -> String {
        Self.words.reduce(text) { text, word in
            text.replacingOccurrences(of: word.of, with: self == .commandLine ? word.option : word.variable)
        }
    }

    /// Returns the environment variable of a key, as swift-configuration names it: `AMQP_IDLE_TIMEOUT` for
    /// `amqp.idleTimeout`.
    package static func variable(of key: String) -> String {
        var name = ""
        for character in key {
            if character.isUppercase, name.last?.isLowercase == true { name += "_" }
            name.append(character == "." ? "_" : character)
        }
        return name.uppercased()
    }
}
