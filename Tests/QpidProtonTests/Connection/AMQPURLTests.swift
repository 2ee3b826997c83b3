// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

@Suite struct AMQPURLTests {
    static let good: [(String, AMQPURL)] = [
        ("amqp://localhost", AMQPURL(host: "localhost")),
        ("AMQP://localhost/", AMQPURL(host: "localhost")),
        ("amqps://broker.example", AMQPURL(host: "broker.example", port: 5671, isTLS: true)),
        ("amqps://broker.example:5672", AMQPURL(host: "broker.example", port: 5672, isTLS: true)),
        ("amqp://host:1/", AMQPURL(host: "host", port: 1)),
        ("amqp://host:65535", AMQPURL(host: "host", port: 65_535)),
        ("amqp://host:/orders", AMQPURL(host: "host", address: "orders")),
        ("amqp://host/orders", AMQPURL(host: "host", address: "orders")),
        ("amqp://host/a/b", AMQPURL(host: "host", address: "a/b")),
        ("amqp://host//queues/orders", AMQPURL(host: "host", address: "/queues/orders")),
        ("amqp://host//", AMQPURL(host: "host", address: "/")),
        ("amqp://host///", AMQPURL(host: "host", address: "//")),
        ("amqp://host/a%20b%2Fc%C3%A9", AMQPURL(host: "host", address: "a b/cé")),
        ("amqp://host/a?x=1&y#z", AMQPURL(host: "host", address: "a?x=1&y#z")),
        ("amqp://host/a:b@c", AMQPURL(host: "host", address: "a:b@c")),
        ("amqp://host/http://x", AMQPURL(host: "host", address: "http://x")),
        ("amqp://ann@host", AMQPURL(host: "host", username: "ann")),
        ("amqp://@host", AMQPURL(host: "host")),
        ("amqp://ann:@host", AMQPURL(host: "host", username: "ann", password: "")),
        ("amqp://ann:pw@host:5/q", AMQPURL(host: "host", port: 5, username: "ann", password: "pw", address: "q")),
        ("amqp://a%40b:p%3A%2F%40%25@host", AMQPURL(host: "host", username: "a@b", password: "p:/@%")),
        ("amqp://ann:p:w@x@host", AMQPURL(host: "host", username: "ann", password: "p:w@x")),
        ("amqp://[::1]", AMQPURL(host: "::1")),
        (
            "amqps://u:p@[2001:db8::7]:9/q",
            AMQPURL(host: "2001:db8::7", port: 9, isTLS: true, username: "u", password: "p", address: "q")
        ),
        ("amqp://[fe80::1%25eth0]:5672", AMQPURL(host: "fe80::1%eth0")),
        ("[::1]:9/q", AMQPURL(host: "::1", port: 9, address: "q")),
        ("amqp://127.0.0.1:5672", AMQPURL(host: "127.0.0.1")),
        ("localhost", AMQPURL(host: "localhost")),
        ("localhost:9", AMQPURL(host: "localhost", port: 9)),
        ("localhost:9/orders", AMQPURL(host: "localhost", port: 9, address: "orders")),
        ("localhost//queues/orders", AMQPURL(host: "localhost", address: "/queues/orders")),
        ("host/a://b", AMQPURL(host: "host", address: "a://b")),
        ("ann:pw@host", AMQPURL(host: "host", username: "ann", password: "pw")),
        ("amqp", AMQPURL(host: "amqp")), ("amqp:9/q", AMQPURL(host: "amqp", port: 9, address: "q")),
        ("bücher.example", AMQPURL(host: "bücher.example")),
    ]

    @Test(arguments: Self.good)
    func reads(text: String, url: AMQPURL) throws {
        let read = try AMQPURL(text)
        #expect(read == url)
        #expect(read.password == url.password)
    }

    /// The description of a URL parses to the same URL, except that it omits the password.
    @Test(arguments: Self.good)
    func descriptionsAreReadAgain(text: String, url: AMQPURL) throws {
        var masked = url
        if url.password != nil { masked.password = "***" }
        #expect(try AMQPURL(url.description) == masked)
    }

    static let bad: [(String, String)] = [
        ("", "empty"), ("amqp://", "no host"), ("amqp:///q", "no host"), (":5672", "no host"),
        ("amqp://ann:s3cret@", "no host"),
        ("amqp:/host/q", "one slash"), ("AMQPS:/ann:s3cret@host", "one slash"),
        ("http://host", "scheme 'http'"), ("amqp1://host", "scheme 'amqp1'"), ("://host", "scheme is"),
        ("amqp://host:0", "port"), ("amqp://host:65536", "port"), ("amqp://host:x", "port"), ("amqp://host:-1", "port"),
        ("amqp://host:5672x", "port"), ("amqp://host: 5", "port"), ("amqp://host:99999999999999999999", "port"),
        ("amqp://::1", "more than one colon"), ("::1", "more than one colon"), ("amqp://[::1", "closing bracket"),
        ("amqp://[::1]5672", "bracket"), ("amqp://[]", "not an IPv6"), ("amqp://[127.0.0.1]", "not an IPv6"),
        ("amqp://[host]", "not an IPv6"), ("amqp://[fe80::1%25]", "not an IPv6"),
        ("amqp://[fe80::1%eth0]", "hexadecimal"),
        ("amqp://ho st", "cannot have"), ("amqp://host?x=1", "cannot have"), ("amqp://host#x", "cannot have"),
        ("amqp://ho%73t", "cannot have"), (" amqp://host", "scheme is"), ("amqp://host/a\n", "control character"),
        ("amqp://host/%", "hexadecimal"), ("amqp://host/%4", "hexadecimal"), ("amqp://host/%4g", "hexadecimal"),
        ("amqp://host/%ff", "UTF-8"), ("amqp://host/%c3", "UTF-8"),
        ("amqp://:s3cret@host", "no user"), ("amqp://ann:s3cret%@host", "hexadecimal"),
        ("amqp://ann:s3cret%00@host", "zero byte"), ("amqp://ann%00:s3cret@host", "zero byte"),
        ("amqp://host/orders%00evil", "address contains a zero byte: remove %00"), ("amqp://host%00/q", "cannot have"),
        ("amqp://ann:s3cret%ff@host", "UTF-8"), ("amqp://ann:s3cret/x@host", "port"),
        ("amqp://ann:s3cret@ho:s3cret:t", "more than one colon"), ("ann:s3cret", "port"),
        ("amqp://ann:s3cret@host:s3cret", "port"), ("amqp://ann:s3cret@[s3cret]", "not an IPv6"),
        ("an!n:s3cret://host", "more than one colon"),
    ]

    @Test(arguments: Self.bad)
    func refuses(text: String, cause: String) {
        let error = #expect(throws: AMQPError.self) { try AMQPURL(text) }
        #expect(error?.condition == .invalidArgument && error?.scope == .call)
        #expect(error?.detail.contains(cause) == true, "\(String(describing: error))")
        #expect(error?.description.contains("s3cret") == false)
    }

    @Test func thePasswordIsNeverShown() throws {
        let url = try AMQPURL("amqp://ann:s3cret@host/q")
        #expect(url.description == "amqp://ann:***@host:5672/q")
        for value: Any in [url, Optional(url) as Any, [url], ["a": url]] {
            var dumped = ""
            dump(value, to: &dumped)
            for text in [dumped, "\(value)", String(describing: value), String(reflecting: value)] {
                #expect(!text.contains("s3cret"))
            }
        }
        var other = url
        other.password = "other"
        #expect(other != url && other.password == "other")
        other.password = nil
        #expect(other.description == "amqp://ann@host:5672/q")
    }

    /// No text makes the parser trap.
    @Test func texts() {
        let pieces = [
            "amqp", "amqps", "://", ":", "/", "@", "[", "]", "%", "%25", "%41", "5", "a", "é", "?", "#", "::1",
        ]
        var seed: UInt64 = 1
        func next(_ limit: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % limit
        }
        for _ in 0..<50_000 {
            let text = (0..<next(9)).map { _ in pieces[next(pieces.count)] }.joined()
            if let url = try? AMQPURL(text) {
                var masked = url
                if url.password != nil { masked.password = "***" }
                #expect((try? AMQPURL(url.description)) == masked, "\(text)")
            }
        }
    }
}
