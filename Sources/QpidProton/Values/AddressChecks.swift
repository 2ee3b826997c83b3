// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The checks of hosts and ports before any name lookup or socket.
enum AddressChecks {
    /// Checks a port; `least` is 0 if the system may choose one.
    static func check(port: Int, least: Int = 1) throws(AMQPError) {
        guard (least...65_535).contains(port) else {
            throw self.error("port is \(port): it must be from \(least) to 65535")
        }
    }

    /// Checks a host's name or its IP address. The resolver reads the host as a C string, which ends at a zero byte.
    static func check(host: String) throws(AMQPError) {
        let shown = host.debugDescription
        if host.isEmpty { throw self.error("the host is empty: set a name or an IP address") }
        if self.isIPAddress(host) { return }
        if host.utf8.contains(0) { throw self.error("the host \(shown) contains a zero byte: remove it") }
        if host.utf8.first == UInt8(ascii: "[") {
            throw self.error("the host \(shown) is not a host's name: write an IPv6 address without brackets")
        }
        if host.utf8.contains(UInt8(ascii: ":")) {
            throw self.error("the host \(shown) contains a colon and is not an IPv6 address: pass the port separately")
        }
        // The resolver decides about a name beyond ASCII.
        guard host.utf8.allSatisfy({ self.isNameByte($0) || $0 >= 0x80 }) else {
            throw self.error("the host \(shown) contains a character that a host's name cannot have: remove it")
        }
        if host.utf8.count > self.longestName + 1 {
            throw self.error("the host has \(host.utf8.count) bytes: a host's name has at most \(self.longestName)")
        }
    }

    /// The maximum length of a host's name in bytes, without its final dot. Source: RFC 1035 §2.3.4.
    static let longestName = 253

    /// Returns whether a byte is allowed in a host's name: a letter, a digit, a hyphen, a dot, or the underscore of
    /// private networks.
    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// Returns the IPv4 address, or the IPv6 address with an optional zone, if the host is one; `nil` for a name.
    static func ipAddress(_ host: String, port: Int = 0) -> SocketAddress? {
        // The system's parser would stop at a zero byte.
        guard host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        let parts = host.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first.flatMap({ try? SocketAddress(ipAddress: String($0), port: port) }) else {
            return nil
        }
        // Only IPv6 has zones: RFC 4007 §11.
        if parts.count > 1, parts[1].isEmpty || address.protocol != .inet6 { return nil }
        return address
    }

    static func isIPAddress(_ host: String) -> Bool { self.ipAddress(host) != nil }

    private static func error(_ text: String) -> AMQPError { AMQPError(condition: .invalidArgument, detail: text) }
}

extension AMQPURL {
    /// Throws for a URL with an address, because a connection would ignore the address silently.
    func validateAddress() throws(AMQPError) {
        guard let address = self.address, !address.isEmpty else { return }
        throw self.error(
            "the URL has the address \(address.debugDescription), which a connection does not use: remove it from the URL, and name it when you open a sender or a receiver"
        )
    }

    func validate() throws(AMQPError) {
        try AddressChecks.check(host: self.host)
        try AddressChecks.check(port: self.port)
        if let username = self.username {
            if username.isEmpty { throw self.error("the user of the URL is empty: give a name, or leave the user out") }
            try CheckedText.check(username, "the user of the URL")
        }
        if let password = self.password {
            guard self.username != nil else {
                throw self.error("the URL has a password but no user: add the user, or remove the password")
            }
            try CheckedText.check(password, "the password of the URL")
        }
    }

    private func error(_ text: String) -> AMQPError { AMQPError(condition: .invalidArgument, detail: text) }
}
