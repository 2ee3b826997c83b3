// SPDX-License-Identifier: Apache-2.0

/// The host, the login and the address to use at the host: `amqp://user:password@host:port/address`.
///
/// - The scheme is `amqp` (port 5672 by default) or `amqps` (TLS, port 5671 by default). A text without a scheme, such
///   as `localhost` or `localhost:5672/orders`, has the scheme `amqp`.
/// - An IPv6 address is written in brackets: `amqp://[::1]:5672`.
/// - User, password and address are percent-decoded, as UTF-8. None of them may contain a zero byte (`%00`).
/// - The address is the path without its first slash, so `amqp://host/orders` has the address `orders` and
///   `amqp://host//queues/orders` has `/queues/orders`. Without a path there is no address.
/// - There is no query and no fragment: `?` and `#` after the host are part of the address.
/// - The host ends at the first slash. Write a slash, a colon or an `@` in a user or a password as `%2F`, `%3A`, `%40`.
public struct AMQPURL: Hashable, Sendable {
    /// Whether the connection is encrypted with TLS: the scheme `amqps`.
    public var isTLS: Bool
    /// The host's name or its IP address, an IPv6 address without brackets.
    public var host: String
    /// The TCP port.
    public var port: Int
    /// The user to log in as, percent-decoded; `nil` if the URL has no user.
    public var username: String? {
        get { self.comparedUsername.text }
        set { self.comparedUsername.text = newValue }
    }
    private var comparedUsername: Bytewise<String?>
    /// The address at the host, percent-decoded; `nil` if the URL has no path.
    public var address: String? {
        get { self.comparedAddress.text }
        set { self.comparedAddress.text = newValue }
    }
    private var comparedAddress: Bytewise<String?>

    private var secret: Redacted<String>?

    /// The password, percent-decoded; `nil` if the URL has no password. No description or dump of the URL shows the
    /// password.
    public var password: String? {
        get { self.secret?.value }
        set { self.secret = newValue.map { Redacted($0) } }
    }

    /// The port of `amqp`.
    public static let defaultPort = 5672
    /// The port of `amqps`.
    public static let defaultTLSPort = 5671

    /// Creates a URL from its parts. The parts are used as they are, without percent-decoding. The connect call checks
    /// the parts that it uses.
    ///
    /// - Parameters:
    ///   - host: The host's name or its IP address, an IPv6 address without brackets.
    ///   - port: The TCP port; `nil` for 5672, or 5671 with TLS.
    ///   - isTLS: Whether the connection is encrypted with TLS.
    ///   - username: The user to log in as.
    ///   - password: The user's password.
    ///   - address: The address at the host.
    public init(
        host: String,
        port: Int? = nil,
        isTLS: Bool = false,
        username: String? = nil,
        password: String? = nil,
        address: String? = nil
    ) {
        self.isTLS = isTLS
        self.host = host
        self.port = port ?? (isTLS ? Self.defaultTLSPort : Self.defaultPort)
        self.comparedUsername = Bytewise(username)
        self.secret = password.map { Redacted($0) }
        self.comparedAddress = Bytewise(address)
    }

    /// Parses a URL.
    ///
    /// - Parameter string: The text, in the form that ``AMQPURL`` describes.
    /// - Throws: ``AMQPError`` with ``AMQPCondition/invalidArgument``. Its text names the cause and the remedy, and
    ///   repeats no part of the URL except its scheme.
    public init(_ string: String) throws(AMQPError) {
        var parser = AMQPURLParser(string)
        self = try parser.parse()
    }
}

extension AMQPURL: CustomStringConvertible, CustomDebugStringConvertible {
    /// The URL, with `***` in place of the password. A URL without a password can be parsed again.
    public var description: String {
        var text = self.isTLS ? "amqps://" : "amqp://"
        if let username = self.username {
            text += Self.encode(username, keeping: "")
            text += self.secret == nil ? "@" : ":***@"
        }
        if self.host.utf8.contains(UInt8(ascii: ":")) {
            text += "[\(self.host.split(separator: "%", maxSplits: 1).joined(separator: "%25"))]"
        } else {
            text += self.host
        }
        text += ":\(self.port)"
        if let address = self.address {
            text += "/" + Self.encode(address, keeping: "/:@!$&'()*+,;=?#")
        }
        return text
    }

    /// The same as ``description``.
    public var debugDescription: String { self.description }

    private static func encode(_ text: String, keeping kept: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                bytes.append(byte)
            case _ where "-._~".utf8.contains(byte) || kept.utf8.contains(byte):
                bytes.append(byte)
            default:
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
