// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import Foundation
package import QpidProton

/// A number of bytes on the command line: digits, with K, M or G for units of 1,024.
package struct ByteSize: ExpressibleByArgument, Sendable {
    package let bytes: Int

    package init(_ bytes: Int) { self.bytes = bytes }

    package init?(argument: String) {
        let units: [Character: Int] = ["K": 10, "M": 20, "G": 30]
        let shift = argument.last.flatMap { units[Character($0.uppercased())] }
        let digits = shift == nil ? argument[...] : argument.dropLast()
        guard let number = Int(digits), number >= 0 else { return nil }
        let (product, isTooLarge) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
        guard !isTooLarge else { return nil }
        self.bytes = product
    }
}

/// The options for the peer or the listener, and for the login.
package struct ConnectionOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            """
            amqp[s]://[user[:password]@]host[:port][/address]. The default scheme is amqp. The default port is 5672, or \
            5671 with amqps. The address is the path without its first slash: //queues/orders for /queues/orders. It \
            includes ? and #. Write / : @ % in a user or a password as %2F %3A %40 %25. With --reconnect, several URLs may \
            be given.
            """,
            valueName: "url"
        )
    )
    package var urls: [String]

    @Option(
        help: ArgumentHelp(
            "The address at the peer, such as the name of a queue; the URL's if left out.",
            valueName: "address"
        )
    )
    package var address: String?

    @Option(help: ArgumentHelp("The user to log in as; the URL's if left out.", valueName: "name"))
    package var user: String?

    @Option(
        help: ArgumentHelp(
            "A file of UTF-8 text with the user's password in its first line; the URL's if left out.",
            valueName: "file"
        )
    )
    package var passwordFile: String?

    @Option(
        help: ArgumentHelp("The authorities to trust with amqps (PEM); the system's if left out.", valueName: "file")
    )
    package var ca: String?

    @Option(help: ArgumentHelp("The own certificate for amqps (PEM).", valueName: "file"))
    package var cert: String?

    @Option(help: ArgumentHelp("The key of the own certificate (PEM).", valueName: "file"))
    package var key: String?

    @Flag(help: "Take any certificate with amqps, and send a password also without TLS.")
    package var insecure = false

    @Option(
        help: ArgumentHelp(
            """
            The seconds that connecting, an answer, opening an input, or a wait without any progress may take; 0 for no limit on \
            the last two. Waiting for input or for --rate is no such wait.
            """,
            valueName: "seconds"
        )
    )
    package var timeout = 60.0

    package init() {}

    /// Throws for unusable options.
    ///
    /// - Parameter isListening: Whether the URL is a place to listen on. If not, an option or URL must name an address.
    package func check(isListening: Bool = false) throws {
        guard (self.cert == nil) == (self.key == nil) else {
            throw ValidationError("--cert and --key are used together: give both, or neither")
        }
        guard self.address != "" else { throw ValidationError("--address takes an address, and this one is empty") }
        let urls = try self.urls.enumerated().map { number, text in
            do throws(AMQPError) {
                return try isListening ? AMQPURL(listeningAt: text) : AMQPURL(text)
            } catch {
                throw ValidationError((self.urls.count > 1 ? "URL \(number + 1): " : "") + error.detail)
            }
        }
        try self.checkLogin(urls)
        try self.checkTLS(urls, isListening)
        for (name, path) in [
            ("--password-file", self.passwordFile), ("--ca", self.ca), ("--cert", self.cert), ("--key", self.key),
        ] { try Self.check(path, of: name) }
        guard self.timeout >= 0, self.timeout <= 1e9 else {
            throw ValidationError("--timeout takes seconds, 0 or more")
        }
        if !isListening { _ = try self.resolvedAddress() }
    }

    private func checkLogin(_ urls: [AMQPURL]) throws {
        guard self.user != "" else { throw ValidationError("--user takes a name, and this one is empty") }
        for url in urls {
            let isNamed = self.user != nil || url.username != nil
            guard self.passwordFile == nil || isNamed else {
                throw ValidationError("--password-file needs a user: give --user, or a URL with one")
            }
            guard !isNamed || self.passwordFile != nil || url.password != nil else {
                throw ValidationError("a user needs a password: give --password-file, or user:password@ in the URL")
            }
        }
    }

    /// Throws for certificates that no connection would use, and for a TLS listener without a certificate.
    private func checkTLS(_ urls: [AMQPURL], _ isListening: Bool) throws {
        let given = [("--ca", self.ca), ("--cert", self.cert), ("--key", self.key)].first { $0.1 != nil }
        if let given, !urls.contains(where: \.isTLS) {
            throw ValidationError("\(given.0) needs TLS: use amqps:// in the URL")
        }
        guard isListening, urls.contains(where: \.isTLS) else { return }
        _ = try self.listeningIdentity()
        guard self.ca == nil else {
            throw ValidationError("--ca cannot be used with --listen: a sender's certificate is not checked")
        }
    }

    /// Throws for an empty path.
    package static func check(_ path: String?, of option: String) throws {
        guard path != "" else { throw ValidationError("\(option) takes a path, and this one is empty") }
    }

    /// The time without progress after which a wait fails; `nil` for never.
    package var stallLimit: Duration? { self.timeout > 0 ? .seconds(self.timeout) : nil }

    /// Returns the URLs with `--user` and `--password-file` in them, without an address.
    package func resolvedURLs() async throws -> [AMQPURL] {
        var urls = try self.urls.map { try AMQPURL($0) }
        let password = try await self.password()
        for index in urls.indices {
            if let user = self.user { urls[index].username = user }
            if let password { urls[index].password = password }
            urls[index].address = nil
        }
        return urls
    }

    /// Returns the URL to listen on, with `--user` and `--password-file` in it. The port may be 0.
    package func listeningURL() async throws -> AMQPURL {
        var url = try AMQPURL(listeningAt: self.urls[0])
        if let user = self.user { url.username = user }
        if let password = try await self.password() { url.password = password }
        return url
    }

    private func password() async throws -> String? {
        guard let path = self.passwordFile else { return nil }
        guard let line = try await TextFile.lines(of: path, most: 1, within: self.stallLimit).first else {
            throw Failure("\(path) is empty: write the password in its first line")
        }
        return line
    }

    /// Returns the address to use. Throws if neither an option nor a URL names one, or if the URLs name several.
    package func resolvedAddress() throws -> String {
        if let address = self.address { return address }
        let addresses = try self.urls.compactMap { try AMQPURL($0).address }.filter { !$0.isEmpty }
        guard let address = addresses.first else {
            throw ValidationError("no address: give --address, or a URL that ends with /address")
        }
        guard let other = addresses.first(where: { !$0.hasSameBytes(as: address) }) else { return address }
        throw ValidationError("the URLs name several addresses, '\(address)' and '\(other)': give one, or --address")
    }

    /// Runs `open` on a connection. If the peer refuses an address, adds the form of addresses at that peer.
    package func explaining<Link>(
        _ address: String,
        _ connection: @autoclosure () -> AMQPConnection?,
        _ open: () async throws -> Link
    ) async throws -> Link {
        do {
            return try await open()
        } catch let error as AMQPError where error.origin == .peer {
            guard let properties = connection()?.peer.properties,
                properties[symbol: "product"]?.stringValue == "RabbitMQ",
                properties[symbol: "version"]?.stringValue?.hasPrefix("3.") != true, !address.hasPrefix("/")
            else { throw error }
            let isPath = address.hasPrefix("queues/") || address.hasPrefix("exchanges/")
            let right = (isPath ? "/" : "/queues/") + address
            throw Failure(
                """
                \(Program.text(of: error)); addresses of RabbitMQ 4 begin with a slash: give --address \(right), or a URL that \
                ends with /\(right)
                """
            )
        }
    }

    /// Returns the settings of a connection.
    package func configuration() -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        if let limit = self.stallLimit {
            configuration.connectTimeout = limit
            configuration.openTimeout = limit
            configuration.operationTimeout = limit
        }
        configuration.tls = AMQPTLS(
            trustRoots: self.ca.map { .file($0) } ?? .system,
            identity: self.identity,
            verification: self.insecure ? .none : .full
        )
        if self.insecure { configuration.sasl = configuration.sasl.allowingPlainWithoutTLS() }
        return configuration
    }

    /// Returns the certificate and the key of a listener with TLS.
    package func listeningIdentity() throws -> AMQPTLS.Identity {
        guard let identity = self.identity else {
            throw ValidationError("to listen with amqps, give --cert and --key")
        }
        return identity
    }

    /// The program's own certificate and key.
    package var identity: AMQPTLS.Identity? {
        guard let cert = self.cert, let key = self.key else { return nil }
        return .files(certificateChain: cert, privateKey: key)
    }
}

/// The options for reports and their destination.
package struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON object as the last line of stdout (of stderr where stdout carries the data).")
    package var json = false

    @Flag(help: "Show the progress on stderr also when that is no terminal.")
    package var progress = false

    package init() {}
}
