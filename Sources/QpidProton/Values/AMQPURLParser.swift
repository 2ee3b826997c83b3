// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// A parser for the UTF-8 bytes of an ``AMQPURL``. No error text quotes user info, host, port or address. After an
/// unescaped slash or colon, any of them may be part of a password.
struct AMQPURLParser {
    private var rest: Substring.UTF8View

    init(_ string: String) {
        self.rest = string[...].utf8
    }

    mutating func parse() throws(AMQPError) -> AMQPURL {
        if self.rest.isEmpty {
            throw Self.error("the URL is empty", "write it as amqp://host:port")
        }
        if self.rest.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            throw Self.error("the URL contains a control character", "remove it, or percent-encode it as in %0A")
        }
        let isTLS = try self.parseScheme()
        let slash = self.rest.firstIndex(of: UInt8(ascii: "/"))
        let authority = self.rest[..<(slash ?? self.rest.endIndex)]
        var address: String?
        if let slash {
            let path = self.rest[self.rest.index(after: slash)...]
            address = path.isEmpty ? nil : try Self.decode(path, "address")
        }

        var username: String?
        var password: String?
        var hostAndPort = authority
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
            (username, password) = try Self.parseUserInfo(authority[..<at])
            hostAndPort = authority[authority.index(after: at)...]
        }
        let (host, port) = try Self.parseHostAndPort(hostAndPort)
        return AMQPURL(
            host: host,
            port: port,
            isTLS: isTLS,
            username: username,
            password: password,
            address: address
        )
    }

    private mutating func parseScheme() throws(AMQPError) -> Bool {
        guard let colon = self.rest.firstIndex(of: UInt8(ascii: ":")) else { return false }
        let afterColon = self.rest[self.rest.index(after: colon)...]
        let scheme = self.rest[..<colon]
        guard afterColon.starts(with: "//".utf8) else {
            // After a host with this name, a port would follow the colon.
            let isScheme = ["amqp", "amqps"].contains(String(Substring(scheme)).lowercased())
            guard isScheme, afterColon.first == UInt8(ascii: "/") else { return false }
            throw Self.error("the URL has one slash after its scheme", "write it as amqp://host:port")
        }
        // A slash before the colon: the text has no scheme, and the colon belongs to its address.
        if scheme.contains(UInt8(ascii: "/")) { return false }
        self.rest = afterColon.dropFirst(2)
        switch String(Substring(scheme)).lowercased() {
        case "amqp": return false
        case "amqps": return true
        default:
            let isPlainWord = scheme.count <= 16 && !scheme.isEmpty && scheme.allSatisfy { Self.isLetterOrDigit($0) }
            let name = isPlainWord ? " '\(Substring(scheme))'" : ""
            throw Self.error("the URL's scheme\(name) is not known", "use amqp://, or amqps:// for TLS")
        }
    }

    private static func parseUserInfo(
        _ text: Substring.UTF8View.SubSequence
    ) throws(AMQPError) -> (String?, String?) {
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else {
            return (text.isEmpty ? nil : try self.decode(text, "user"), nil)
        }
        if colon == text.startIndex {
            throw self.error("the URL has a password but no user", "write it as amqp://user:password@host")
        }
        return (
            try self.decode(text[..<colon], "user"),
            try self.decode(text[text.index(after: colon)...], "password")
        )
    }

    private static func parseHostAndPort(_ text: Substring.UTF8View.SubSequence) throws(AMQPError) -> (String, Int?) {
        var host: String
        var portText: Substring.UTF8View.SubSequence
        if text.first == UInt8(ascii: "[") {
            guard let close = text.firstIndex(of: UInt8(ascii: "]")) else {
                throw self.error("the URL's IPv6 address has no closing bracket", "write it as amqp://[::1]:5672")
            }
            host = try self.parseIPv6(text[text.index(after: text.startIndex)..<close])
            portText = text[text.index(after: close)...]
            if let first = portText.first, first != UInt8(ascii: ":") {
                throw self.error("text follows the IPv6 address's bracket", "write it as amqp://[::1]:5672/address")
            }
        } else {
            let end = text.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
            host = String(decoding: text[..<end], as: UTF8.self)
            portText = text[end...]
            if portText.dropFirst().contains(UInt8(ascii: ":")) {
                throw self.error(
                    "the URL's host contains more than one colon",
                    "write an IPv6 address in brackets, as in amqp://[::1]:5672, and a colon in a user as %3A"
                )
            }
            if host.isEmpty {
                throw self.error("the URL has no host", "write it as amqp://host:port")
            }
            // The resolver decides about a name beyond ASCII.
            guard host.utf8.allSatisfy({ self.isLetterOrDigit($0) || "-._".utf8.contains($0) || $0 >= 0x80 }) else {
                throw self.error(
                    "the URL's host contains a character that a host's name cannot have",
                    "write the address after a slash, and percent-encode the user and the password"
                )
            }
        }
        portText = portText.dropFirst()
        if portText.isEmpty { return (host, nil) }
        guard portText.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let port = Int(Substring(portText)), (1...65535).contains(port)
        else {
            throw self.error(
                "the URL's port is not a number from 1 to 65535",
                "correct it; if this is part of a password, percent-encode the password (/ is %2F, @ is %40)"
            )
        }
        return (host, port)
    }

    private static func parseIPv6(_ text: Substring.UTF8View.SubSequence) throws(AMQPError) -> String {
        // RFC 6874: the zone of a link-local address follows "%25".
        let zoneMark = text.firstIndex(of: UInt8(ascii: "%"))
        let address = String(decoding: text[..<(zoneMark ?? text.endIndex)], as: UTF8.self)
        var zone = ""
        if let zoneMark {
            zone = try self.decode(text[zoneMark...], "IPv6 zone")
        }
        let isValid = (try? SocketAddress(ipAddress: address, port: 0))?.protocol == .inet6
        let isZone = { (byte: UInt8) in self.isLetterOrDigit(byte) || "-._~".utf8.contains(byte) }
        let isValidZone = zone.first == "%" && zone.utf8.count > 1 && zone.utf8.dropFirst().allSatisfy(isZone)
        guard isValid, zoneMark == nil || isValidZone else {
            throw self.error("the text in brackets is not an IPv6 address", "write it as amqp://[::1]:5672")
        }
        return address + zone
    }

    private static func decode(
        _ text: Substring.UTF8View.SubSequence,
        _ part: String
    ) throws(AMQPError) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(self.hexDigit), let low = rest.popFirst().flatMap(self.hexDigit)
            else {
                throw self.error(
                    "a % in the URL's \(part) is not followed by two hexadecimal digits",
                    "write a percent sign itself as %25"
                )
            }
            bytes.append(high << 4 | low)
        }
        if bytes.contains(0) {
            throw self.error("the URL's \(part) contains a zero byte", "remove %00")
        }
        guard let string = String(validating: bytes, as: UTF8.self) else {
            throw self.error("the URL's \(part) is not UTF-8 once percent-decoded", "percent-encode its UTF-8 bytes")
        }
        return string
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): return byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): return byte - UInt8(ascii: "A") + 10
        default: return nil
        }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            return true
        default:
            return false
        }
    }

    private static func error(_ cause: String, _ remedy: String) -> AMQPError {
        AMQPError(condition: .invalidArgument, detail: "\(cause): \(remedy)")
    }
}
