// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton

/// Translates names of configuration properties in the library's errors to options of the command line.
enum CommandLineWords {
    /// The replaced phrases, followed by the bare names that remain.
    private static let words: [(of: String, with: String)] = [
        (", or set serverName", ""),
        (" or set serverName", ""),
        ("set trustRoots to", "give with --ca"),
        ("set trustRoots", "give --ca"),
        ("set the identity of the TLS configuration", "give --cert and --key"),
        ("set the identity of its TLS configuration", "give it a certificate and its key"),
        ("set an identity that", "give with --cert and --key a certificate that"),
        ("set allowsPlainWithoutTLS", "give --insecure"),
        ("minimumVersion", "the TLS versions"),
        ("trustRoots", "--ca"),
        ("allowsPlainWithoutTLS", "--insecure"),
        ("connectTimeout", "--timeout"),
        ("openTimeout", "--timeout"),
        ("operationTimeout", "--timeout"),
    ]

    /// Returns the text of an error without the names of Swift properties.
    static func text(of error: AMQPError) -> String {
        self.words.reduce("\(error)") { $0.replacingOccurrences(of: $1.of, with: $1.with) }
    }
}
