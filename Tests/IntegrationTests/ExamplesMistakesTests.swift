// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// Mistakes of new users. The error of each is one line that names the cause and the remedy in the words of the user.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesMistakesTests {
    private func error(_ name: String, _ arguments: [String], status: Int32) async throws -> String {
        let process = try ExampleProcess(name, arguments)
        #expect(try await process.waitForExit() == status, "\(name) \(arguments)")
        #expect(process.errorLines.count == 1, "\(process.errorLines)")
        let line = process.errorLines.joined()
        for word in ["nil", "openSender", "trustRoots", "allowsPlain", "amqp:resource", "amqp:connection"] {
            #expect(!line.contains(word), "\(line)")
        }
        return line
    }

    // MARK: Options

    static let unusable: [(name: String, arguments: [String], text: String)] = [
        // Certificates that no connection uses, and a TLS listener without a certificate.
        ("sender", ["localhost/q", "--body", "x", "--ca", "/ca"], "--ca needs TLS: use amqps://"),
        ("receiver", ["amqp://localhost/q", "--cert", "/c", "--key", "/k"], "--cert needs TLS: use amqps://"),
        ("receiver", ["127.0.0.1:0", "--listen", "--cert", "/c", "--key", "/k"], "use amqps://"),
        ("receiver", ["amqps://127.0.0.1:0", "--listen"], "give --cert and --key"),
        (
            "receiver", ["amqps://127.0.0.1:0", "--listen", "--cert", "/c", "--key", "/k", "--ca", "/ca"],
            "--ca cannot be used with --listen"
        ),
        // URLs.
        ("sender", ["http://localhost/q", "--body", "x"], "scheme 'http' is not known: use amqp://"),
        ("sender", ["amqp:/localhost/q", "--body", "x"], "one slash after its scheme: write it as amqp://"),
        ("sender", ["localhost:0/q", "--body", "x"], "from 1 to 65535"),
        ("sender", ["localhost?x=1", "--body", "x"], "write the address after a slash"),
        ("sender", ["", "--body", "x"], "the URL is empty"),
        ("sender", ["localhost", "--body", "x"], "no address: give --address"),
        ("receiver", ["--reconnect", "a/q", "http://b/q"], "URL 2: the URL's scheme"),
        ("sender", ["localhost/q", "hello/q", "--body", "x"], "quote a text that has spaces"),
        ("receiver", ["127.0.0.1:abc/q", "--listen"], "the port is not a number from 0 to 65535"),
        ("broker", ["--listen", "127.0.0.1:abc"], "cannot use --listen: the port is not a number from 0 to 65535"),
        ("broker", ["--listen", "5672"], "has no host: write 127.0.0.1:5672, or 0.0.0.0:5672"),
        ("broker", ["--listen", ":5672"], "has no host: write 127.0.0.1:5672, or 0.0.0.0:5672"),
        // Logins.
        ("sender", ["localhost/q", "--body", "x", "--user", ""], "--user takes a name, and this one is empty"),
        ("sender", ["localhost/q", "--body", "x", "--user", "ann"], "give --password-file"),
        ("receiver", ["ann@localhost/q"], "give --password-file, or user:password@ in the URL"),
        ("receiver", ["127.0.0.1:0", "--listen", "--user", "ann"], "give --password-file"),
        ("broker", ["127.0.0.1:5672"], "Unexpected argument '127.0.0.1:5672': quote a text that has spaces, and see"),
        ("sender", ["--body", "x"], "give a URL, such as localhost/orders"),
        // Numbers.
        ("sender", ["localhost/q", "--body", "x", "--reconnect", "abc"], "begin a URL after it with amqp://"),
        ("sender", ["--reconnect", "1.5s", "localhost/q", "--body", "x"], "or no number, and not '1.5s'"),
        ("receiver", ["localhost/q", "--window", "abc"], "64K, auto, on-demand or unbounded"),
        ("sender", ["localhost/q", "--count", "many"], "give a whole number"),
        ("sender", ["localhost/q", "--body", "x", "--rate", "fast"], "messages a second"),
        ("receiver", ["localhost/q", "--idle-timeout", "soon"], "give a number of seconds, such as 5 or 0.5"),
        ("receiver", ["localhost/q", "--handler-delay", "1s"], "give a number of milliseconds"),
        ("sender", ["localhost/q", "--body", "x", "--limit", "1MB"], "such as 65536 or 64K"),
        // Options of other options.
        ("sender", ["localhost/q", "--body", "x", "--size", "5"], "--size needs --count: add it, or omit --size"),
        ("sender", ["localhost/q", "--body", "x", "--property", "=5"], "not '=5': write it as key=value"),
        ("sender", ["localhost/q", "--body", "x", "--property", "5"], "not '5': write it as key=value"),
        ("receiver", ["localhost/q", "--budget", "1M", "--credit", "5"], "--budget needs --window auto: omit"),
        ("sender", ["localhost/q", "--body", "x", "--cert", "/c"], "--cert and --key are used together: give both"),
        ("broker", ["--tls-cert", "/c"], "--tls-cert and --tls-key are used together: give both"),
    ]

    @Test(arguments: Self.unusable)
    func anOptionThatCannotBeUsedIsNamed(name: String, arguments: [String], text: String) async throws {
        let line = try await self.error(name, arguments, status: 64)
        #expect(line.hasPrefix("\(name): ") && line.contains(text), "\(line)")
    }

    /// After `--reconnect`, a host is a URL and only a number is a limit.
    @Test(arguments: [
        ["--reconnect", "127.0.0.1", "--address", "q"], ["--reconnect", "localhost/q"], ["localhost/q", "--reconnect"],
    ])
    func aURLAfterReconnectIsNotReadAsANumber(_ arguments: [String]) async throws {
        let line = try await self.error("sender", arguments, status: 64)
        #expect(line.contains("exactly one of --body"), "\(line)")
    }

    @Test func theJSONOfUnusableOptionsHasTheError() async throws {
        let text = "--size needs --count: add it, or omit --size"
        let sender = try ExampleProcess("sender", ["localhost/q", "--body", "x", "--size", "5", "--json"])
        #expect(try await sender.waitForExit() == 64)
        #expect(sender.output == "{\"error\":\"\(text)\"}\n" && sender.errorLines == ["sender: \(text)"])
        // The data is on stdout, so the object is on stderr.
        let receiver = try ExampleProcess("receiver", ["localhost/q", "--count", "-1", "--output", "-", "--json"])
        #expect(try await receiver.waitForExit() == 64)
        #expect(receiver.output.isEmpty && receiver.errorLines.count == 2, "\(receiver.errorLines)")
        #expect(receiver.errorLines.last?.hasPrefix("{\"error\":\"") == true, "\(receiver.errorLines)")
    }

    @Test func aLossAfterTheOpenNamesThePeer() async throws {
        for (name, arguments) in [("sender", ["--count", "3"]), ("receiver", [])] {
            try await ScriptedPeer.with(react: { kind, _ in kind == .attach ? .drop : .answer }) { _, url in
                let place = try #require(url.split(separator: "/").last)
                let line = try await self.error(name, ["\(url)/q"] + arguments, status: 1)
                #expect(line.contains("the connection was lost") && line.contains("\(place)"), "\(line)")
            }
        }
    }

    @Test func anArgumentThatIsNotUTF8IsRefused() async throws {
        let command = "\"$0\" localhost/q --body \"$(printf 'caf\\351')\""
        let sender = try ExampleProcess("sender", [], redirections: "", command: command)
        #expect(try await sender.waitForExit() == 64)
        #expect(sender.errorLines.count == 1 && sender.errors.contains("\"caf\\xe9\" is not UTF-8"), "\(sender.errors)")
    }

    @Test func aFileWithoutAPasswordOrAUserIsNamed() async throws {
        let sending = ["localhost/q", "--body", "x", "--user", "ann", "--password-file", "/dev/null"]
        #expect(try await self.error("sender", sending, status: 1).contains("/dev/null is empty"))
        let listening = ["--listen", "127.0.0.1:0", "--users", "/dev/null"]
        #expect(try await self.error("broker", listening, status: 1).contains("lines of user:password"))
    }

    // MARK: Peers

    @Test(arguments: ["", "ann:pw@"])
    func aPortWithTLSIsNamed(_ user: String) async throws {
        var configuration = AMQPListener.Configuration()
        configuration.tls = AMQPServerTLS(identity: try TestCertificates.files().server)
        try await ExamplesPeer.with(configuration) { _ in
        } _: { port in
            let url = "amqp://\(user)127.0.0.1:\(port)/q"
            let line = try await self.error("sender", [url, "--body", "x"], status: 1)
            #expect(line == "sender: the server speaks TLS on this port: use amqps://")
        }
    }

    @Test func theErrorOfASilentPortNamesTheRemedy() async throws {
        let listener = try SilentListener()
        for (scheme, text) in [("amqp", "AMQP 1.0 without TLS"), ("amqps", "AMQP 1.0 over TLS")] {
            let url = "\(scheme)://127.0.0.1:\(listener.port)/q"
            let line = try await self.error("receiver", [url, "--timeout", "0.3"], status: 1)
            #expect(
                line.contains("127.0.0.1:\(listener.port)") && line.hasSuffix("this port speaks \(text)"),
                "\(line)"
            )
        }
    }

    @Test(arguments: [
        (["sender", "--count", "100000", "--rate", "500"], true), (["receiver"], true),
        (["receiver", "--stream", "-"], false),
    ])
    func theErrorOfALossAdvisesReconnect(_ words: [String], _ isAdvised: Bool) async throws {
        let broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0"])
        defer { broker.signal(SIGKILL) }
        let port = try await broker.port()
        let url = "127.0.0.1:\(port)/q"
        let program = try ExampleProcess(words[0], [url, "--progress"] + words.dropFirst())
        _ = try await lookUntil("it is connected") { program.errors.contains("credit") ? true : nil }
        broker.signal(SIGKILL)
        #expect(try await program.waitForExit(20) == 1)
        let line = try #require(
            program.errorLines.first { $0.contains("the connection was lost") },
            "\(program.errors)"
        )
        #expect(line.hasSuffix("; with --reconnect, the program connects again") == isAdvised, "\(line)")
    }

    @Test func theErrorOfALoginThatTheServerDoesNotOfferAdvisesToLeaveItOut() async throws {
        try await withBroker { _, url in
            let named = url.replacingOccurrences(of: "amqp://", with: "amqp://guest:guest@")
            let line = try await self.error("sender", ["\(named)/q", "--body", "x"], status: 1)
            #expect(
                line.hasPrefix("sender: no SASL mechanism") && line.hasSuffix("leave out the user and the password")
            )
        }
    }

    @Test func aPortThatIsInUseIsNamedWithoutACondition() async throws {
        let socket = try RawSocket()
        socket.listen(backlog: 1)
        let place = "127.0.0.1:\(socket.port)"
        for (name, arguments) in [("broker", ["--listen", place]), ("receiver", ["--listen", place])] {
            let line = try await self.error(name, arguments, status: 1)
            #expect(line.hasPrefix("\(name): cannot listen on \(place): address already in use: "), "\(line)")
            #expect(line.hasSuffix("choose another port"), "\(line)")
        }
    }

    /// The line of the failed attempt is also the error of the program.
    @Test(arguments: [["sender", "--body", "x"], ["receiver"]])
    func aFatalAttemptIsShownOnce(_ words: [String]) async throws {
        var configuration = AMQPListener.Configuration()
        configuration.tls = AMQPServerTLS(identity: try TestCertificates.files().server)
        try await ExamplesPeer.with(configuration) { _ in
        } _: { port in
            let url = "amqps://localhost:\(port)"
            let arguments = ["\(url)/q", "--reconnect"] + words.dropFirst()
            let line = try await self.error(words[0], arguments, status: 1)
            #expect(line.hasPrefix("\(words[0]): attempt 1 at \(url) failed: the certificate"), "\(line)")
            #expect(line.contains("give with --ca"), "\(line)")
        }
    }

    // MARK: The demo

    @Test func theDemoNamesAFolderWithoutGit() async throws {
        let demo = try ExampleProcess("demo", [], redirections: "", prelude: "export GIT_DIR=/nonexistent")
        #expect(try await demo.waitForExit() == 64)
        #expect(
            demo.errorLines == [
                "demo: this folder belongs to no git repository: name the folder to relay, as in 'demo Sources'"
            ]
        )
    }

    /// Outside of a git repository, `dev/demo` relays the folder Sources.
    @Test(arguments: [([], "debug/demo Sources"), (["--json"], "debug/demo --json Sources"), (["/"], "debug/demo /")])
    func theDemoRunsInATreeWithoutGit(_ arguments: [String], _ call: String) async throws {
        try await withFolder { folder in
            let demo = try Self.makeTree(folder, arguments)
            #expect(try await demo.waitForExit() == 0, "\(demo.errorLines)")
            #expect(demo.errorLines.last == "==> .build/\(call) ", "\(demo.errorLines)")
            #expect(!demo.errors.contains("fatal"), "\(demo.errorLines)")
        }
    }

    @Test func theDemoRefusesAMissingFolderBeforeItBuilds() async throws {
        try await withFolder { folder in
            let demo = try Self.makeTree(folder, ["photos"])
            #expect(try await demo.waitForExit() == 1)
            #expect(demo.errorLines.count == 1 && demo.errors.contains("there is no folder"), "\(demo.errorLines)")
        }
    }

    /// Creates a tree with `dev/demo` and stand-ins for the programs that it calls, and runs it there.
    private static func makeTree(_ folder: URL, _ arguments: [String]) throws -> ExampleProcess {
        let manager = FileManager.default
        for name in ["dev", ".build/debug", "bin"] {
            let place = folder.appendingPathComponent(name)
            try manager.createDirectory(at: place, withIntermediateDirectories: true)
        }
        for name in ["demo", "lib.sh"] {
            let place = folder.appendingPathComponent("dev/\(name)").path
            try manager.copyItem(atPath: Repository.path("dev/\(name)"), toPath: place)
        }
        for name in ["dev/setup", "bin/swift", ".build/debug/demo"] {
            let file = folder.appendingPathComponent(name)
            try Data("#!/bin/sh\n".utf8).write(to: file)
            #expect(chmod(file.path, 0o755) == 0)
        }
        let prelude =
            "cd '\(folder.path)'; export PATH='\(folder.path)/bin':$PATH GIT_CEILING_DIRECTORIES='\(folder.path)/..'"
        return try ExampleProcess("sh", arguments, redirections: "", prelude: prelude, command: "./dev/demo \"$@\"")
    }
}
