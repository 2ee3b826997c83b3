// SPDX-License-Identifier: Apache-2.0

/// The hosts that a client connects to, one after another: configured ones, and those that a peer announces.
///
/// A pure value. It checks and bounds a peer's announcements: see ``AnnouncedHost``.
struct ClientHosts: Sendable {
    /// The most hosts that a peer can announce; the client ignores further ones.
    static let limit = 32

    /// A host, and its announced properties.
    struct Host: Hashable, Sendable {
        var url: AMQPURL
        /// The `hostname` of the open; `nil` for the configured one.
        var virtualHost: String?
        var isAnnounced = false
    }

    private let configured: [Host]
    private let policy: AMQPClient.AnnouncedHosts
    /// Whether a login may have a password in addition to that of a URL.
    private let mayHavePassword: Bool
    private(set) var announced: [Host] = []
    private var redirect: Host?
    private var next = 0
    /// The attempts since the last connection opened.
    private var failures = 0

    init(_ urls: [AMQPURL], _ policy: AMQPClient.AnnouncedHosts = .ignore, mayHavePassword: Bool = false) {
        self.configured = urls.map { Host(url: $0) }
        self.policy = policy
        self.mayHavePassword = mayHavePassword
    }

    /// The hosts in current rotation.
    var all: [Host] {
        switch self.policy {
        case .ignore: self.configured
        case .add: self.configured + self.announced
        case .replace: self.announced.isEmpty ? self.configured : self.announced
        }
    }

    /// Returns the host of the next attempt: the host of a redirect first, then each in turn.
    mutating func take() -> Host {
        if let redirect = self.redirect {
            self.redirect = nil
            return redirect
        }
        // If no announced host answers, the configured hosts follow.
        if self.policy == .replace, !self.announced.isEmpty, self.failures >= self.announced.count {
            self.announced = []
            (self.failures, self.next) = (0, 0)
        }
        let all = self.all
        // The index grows without a bound, because a connection may raise the number of hosts.
        defer { self.next += 1 }
        self.failures += 1
        return all[self.next % all.count]
    }

    /// Records that a connection to a host has opened. The peer's properties may announce other hosts.
    mutating func opened(_ host: Host, _ properties: AMQPMap) {
        self.failures = 0
        guard self.policy != .ignore, let list = properties[symbol: "failover-server-list"]?.listValue else { return }
        let known = Set(self.configured.map(\.place))
        var announced: [Host] = []
        for value in list.prefix(Self.limit * 4) where announced.count < Self.limit {
            guard let map = value.mapValue, let other = self.host(map, from: host),
                !announced.contains(where: { $0.place == other.place }),
                self.policy == .replace || !known.contains(other.place)
            else { continue }
            announced.append(other)
        }
        // A new list begins at its first host.
        if self.policy == .replace, announced != self.announced { self.next = 0 }
        self.announced = announced
    }

    /// Reads another host from an error. Returns whether the next attempt connects to that host.
    mutating func redirected(_ error: AMQPError, from host: Host) -> Bool {
        guard self.policy != .ignore, error.origin == .peer,
            error.condition == .connectionRedirect,
            let other = self.host(error.info, from: host)
        else { return false }
        self.redirect = other
        return true
    }

    /// Returns the host that a peer's map names; `nil` for a host that must not be used.
    private func host(_ map: AMQPMap, from host: Host) -> Host? {
        guard let place = AnnouncedHost(map, isTLS: host.url.isTLS) else { return nil }
        let url = AMQPURL(
            host: place.host,
            port: place.port,
            isTLS: place.isTLS,
            username: host.url.username,
            password: host.url.password
        )
        // Without TLS, no password is sent to an announced host, whatever the configured hosts allow.
        guard url.isTLS || !(self.mayHavePassword || url.password != nil) else { return nil }
        return Host(url: url, virtualHost: place.virtualHost, isAnnounced: true)
    }
}

extension ClientHosts.Host {
    /// The key that identifies a host.
    fileprivate var place: [String] { ["\(self.url.isTLS)", self.url.host.lowercased(), "\(self.url.port)"] }
}

/// A host that a peer names in its properties or in a redirect. Source: AMQP 1.0 §2.8.16 and the `failover-server-list` of
/// Qpid JMS.
struct AnnouncedHost: Hashable, Sendable {
    let host: String
    let port: Int
    let isTLS: Bool
    let virtualHost: String?

    /// Reads a map; `nil` if it names no usable host.
    ///
    /// - Parameter isTLS: Whether the announcing peer was reached with TLS: then the host must be, too.
    init?(_ map: AMQPMap, isTLS: Bool) {
        func text(_ name: String) -> String? {
            let value = map[symbol: AMQPSymbol(rawValue: name)]
            return value?.stringValue ?? value?.symbolValue?.rawValue
        }
        guard let host = text("network-host"), Self.isHost(host) else { return nil }
        let scheme = text("scheme")
        switch scheme {
        case nil: self.isTLS = isTLS
        case "amqps": self.isTLS = true
        case "amqp" where !isTLS: self.isTLS = false
        default: return nil
        }
        if let value = map[symbol: "port"] {
            guard let port = value.intValue ?? value.stringValue.flatMap({ Int($0) }), (1...65_535).contains(port)
            else {
                return nil
            }
            self.port = port
        } else {
            self.port = self.isTLS ? AMQPURL.defaultTLSPort : AMQPURL.defaultPort
        }
        let virtualHost = text("hostname")
        if let virtualHost, virtualHost.isEmpty || !Self.isPrintable(virtualHost) { return nil }
        self.host = host
        self.virtualHost = virtualHost
    }

    /// Returns whether a text is a name or an address: letters, digits and a few marks, at most 253 bytes. Source: RFC
    /// 1035 §2.3.4.
    private static func isHost(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: ":"):
                    true
                default: false
                }
            }
    }

    private static func isPrintable(_ text: String) -> Bool {
        text.utf8.count <= 1_024 && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f }
    }
}
