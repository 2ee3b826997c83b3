// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The hosts that a client connects to, and a peer's influence on them.
struct ClientHostsTests {
    private static let a = AMQPURL(host: "a.example", username: nil, password: nil)
    private static let b = AMQPURL(host: "b.example")
    private static let secure = AMQPURL(host: "a.example", isTLS: true, username: "user", password: "secret")

    private static func properties(_ hosts: AMQPMap...) -> AMQPMap {
        [.symbol("failover-server-list"): .list(hosts.map { .map($0) })]
    }

    private static func named(_ host: String, _ more: AMQPMap = [:]) -> AMQPMap {
        var map: AMQPMap = [.symbol("network-host"): .string(host)]
        for (key, value) in more { map[key] = value }
        return map
    }

    private static func redirect(_ info: AMQPMap, _ condition: AMQPCondition = .connectionRedirect) -> AMQPError {
        var error = AMQPError(scope: .connection, condition: condition, info: info)
        error.origin = .peer
        return error
    }

    private static func take(_ hosts: inout ClientHosts, _ count: Int) -> [String] {
        (0..<count).map { _ in hosts.take().url.host }
    }

    // MARK: Turns

    @Test func urlsTakeTurns() {
        var hosts = ClientHosts([Self.a, Self.b])
        #expect(Self.take(&hosts, 5) == ["a.example", "b.example", "a.example", "b.example", "a.example"])
    }

    @Test func announcedHostsAreIgnoredByDefault() {
        var hosts = ClientHosts([Self.a])
        let host = hosts.take()
        hosts.opened(host, Self.properties(Self.named("c.example")))
        #expect(hosts.redirected(Self.redirect(Self.named("c.example")), from: host) == false)
        #expect(Self.take(&hosts, 3) == ["a.example", "a.example", "a.example"])
    }

    @Test func announcedHostsAreAdded() {
        var hosts = ClientHosts([Self.a, Self.b], .add)
        let host = hosts.take()
        hosts.opened(host, Self.properties(Self.named("c.example"), Self.named("B.example"), Self.named("c.example")))
        #expect(Self.take(&hosts, 4) == ["b.example", "c.example", "a.example", "b.example"])
        // The latest list replaces the earlier one.
        hosts.opened(host, Self.properties(Self.named("d.example")))
        #expect(hosts.all.map(\.url.host) == ["a.example", "b.example", "d.example"])
        hosts.opened(host, [:])
        #expect(hosts.all.count == 3)
        hosts.opened(host, Self.properties())
        #expect(hosts.all.count == 2)
    }

    @Test func announcedHostsReplaceConfiguredHostsUntilAllFail() {
        var hosts = ClientHosts([Self.a], .replace)
        let host = hosts.take()
        hosts.opened(host, Self.properties(Self.named("c.example"), Self.named("a.example"), Self.named("d.example")))
        #expect(Self.take(&hosts, 3) == ["c.example", "a.example", "d.example"])
        #expect(Self.take(&hosts, 2) == ["a.example", "a.example"])
    }

    @Test func aRedirectIsTriedFirstAndOnce() {
        var hosts = ClientHosts([Self.a, Self.b], .add)
        let host = hosts.take()
        let info = Self.named("c.example", [.symbol("port"): .int(7), .symbol("hostname"): "vhost"])
        #expect(hosts.redirected(Self.redirect(info), from: host) == true)
        let target = hosts.take()
        #expect(
            target.url == AMQPURL(host: "c.example", port: 7) && target.virtualHost == "vhost" && target.isAnnounced
        )
        #expect(Self.take(&hosts, 2) == ["b.example", "a.example"])
    }

    @Test func onlyAPeersRedirectCounts() {
        var hosts = ClientHosts([Self.a], .replace)
        let host = hosts.take()
        #expect(hosts.redirected(Self.redirect(Self.named("c.example"), .connectionForced), from: host) == false)
        #expect(hosts.redirected(Self.redirect([.symbol("hostname"): "c.example"]), from: host) == false)
        let own = AMQPError(scope: .connection, condition: .connectionRedirect, info: Self.named("c.example"))
        #expect(hosts.redirected(own, from: host) == false)
    }

    // MARK: Logins

    @Test func aHostAfterTLSHasTLSToo() throws {
        var hosts = ClientHosts([Self.secure], .add)
        let host = hosts.take()
        hosts.opened(
            host,
            Self.properties(
                Self.named("c.example"),
                Self.named("d.example", [.symbol("scheme"): "amqp"]),
                Self.named("e.example", [.symbol("scheme"): "amqps", .symbol("port"): 5_555])
            )
        )
        let announced = hosts.announced.map(\.url)
        #expect(announced.map(\.host) == ["c.example", "e.example"] && announced.allSatisfy(\.isTLS))
        #expect(announced.map(\.port) == [5_671, 5_555])
        #expect(announced.allSatisfy { $0.username == "user" && $0.password == "secret" })
    }

    @Test func noPasswordIsSentToAnAnnouncedHostWithoutTLS() {
        let plain = AMQPURL(host: "a.example", username: "user", password: "secret")
        for (url, mayHavePassword) in [(plain, false), (Self.a, true)] {
            var hosts = ClientHosts([url], .add, mayHavePassword: mayHavePassword)
            let host = hosts.take()
            hosts.opened(
                host,
                Self.properties(Self.named("c.example"), Self.named("e.example", [.symbol("scheme"): "amqps"]))
            )
            #expect(hosts.announced.map(\.url.host) == ["e.example"])
            #expect(hosts.redirected(Self.redirect(Self.named("c.example")), from: host) == false)
        }
    }

    // MARK: Announcements of a hostile peer

    private static let hostile: [AMQPValue] = [
        .null, .string("c.example"), .list([]), .map([:]), .map([.symbol("network-host"): .null]),
        .map([.symbol("network-host"): .string("")]), .map([.symbol("network-host"): .list([])]),
        .map([.symbol("network-host"): .string("c.example/path")]), .map([.symbol("network-host"): .string("a b")]),
        .map([.symbol("network-host"): .string("user@c.example")]),
        .map([.symbol("network-host"): .string("c.example\0.evil")]),
        .map([.symbol("network-host"): .string("c.example\r\nx")]), .map([.symbol("network-host"): .string("bücher")]),
        .map([.symbol("network-host"): .string(String(repeating: "a", count: 254))]),
        .map(Self.named("c.example", [.symbol("port"): .int(0)])),
        .map(Self.named("c.example", [.symbol("port"): .int(-1)])),
        .map(Self.named("c.example", [.symbol("port"): .int(65_536)])),
        .map(Self.named("c.example", [.symbol("port"): .ulong(.max)])),
        .map(Self.named("c.example", [.symbol("port"): .string("80 ")])),
        .map(Self.named("c.example", [.symbol("port"): .null])),
        .map(Self.named("c.example", [.symbol("scheme"): .string("http")])),
        .map(Self.named("c.example", [.symbol("scheme"): .string("ws")])),
        .map(Self.named("c.example", [.symbol("hostname"): .string("")])),
        .map(Self.named("c.example", [.symbol("hostname"): .string("a\0b")])),
        .map(Self.named("c.example", [.symbol("hostname"): .string(String(repeating: "v", count: 1_025))])),
    ]

    @Test func unusableHostsArePassedOver() {
        var hosts = ClientHosts([Self.a], .add)
        let host = hosts.take()
        for value in Self.hostile {
            hosts.opened(host, [.symbol("failover-server-list"): .list([value, .map(Self.named("ok.example"))])])
            #expect(hosts.announced.map(\.url.host) == ["ok.example"], "\(value)")
            if let map = value.mapValue {
                #expect(hosts.redirected(Self.redirect(map), from: host) == false, "\(value)")
            }
        }
        for value: AMQPValue in [.null, .string("x"), .map(Self.named("c.example")), .int(3)] {
            hosts.opened(host, [.symbol("failover-server-list"): value])
            #expect(hosts.announced.map(\.url.host) == ["ok.example"], "\(value)")
        }
    }

    @Test func theNumberOfHostsIsBounded() {
        var hosts = ClientHosts([Self.a], .add)
        let many = (0..<100_000).map { AMQPValue.map(Self.named("h\($0).example")) }
        hosts.opened(hosts.take(), [.symbol("failover-server-list"): .list(many)])
        #expect(hosts.announced.count == ClientHosts.limit && hosts.all.count == ClientHosts.limit + 1)
    }

    @Test func acceptedFormsOfAHost() {
        let forms: [(AMQPMap, String, Int)] = [
            (Self.named("10.0.0.1"), "10.0.0.1", 5_672), (Self.named("::1", [.symbol("port"): "5673"]), "::1", 5_673),
            ([.symbol("network-host"): .symbol("c.example"), .symbol("port"): .ushort(9)], "c.example", 9),
            (Self.named("c_d-e.example", [.symbol("port"): .ulong(65_535)]), "c_d-e.example", 65_535),
        ]
        for (map, host, port) in forms {
            let place = AnnouncedHost(map, isTLS: false)
            #expect(place?.host == host && place?.port == port && place?.isTLS == false, "\(map)")
        }
    }
}
