// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import TestSupport
import Testing

/// The texts of the programs: options in their errors, suggestions, and an instructive help.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ExamplesWordsTests {
    private func error(_ name: String, _ arguments: [String], status: Int32) async throws -> String {
        let process = try ExampleProcess(name, arguments)
        #expect(try await process.waitForExit() == status, "\(name) \(arguments)")
        #expect(process.errorLines.count == 1, "\(process.errorLines)")
        return process.errorLines.joined()
    }

    @Test func anUnknownOptionIsNamedFirst() async throws {
        let calls = [
            ("sender", ["localhost/q", "--bdy", "hello"], "--bdy", "--body"),
            ("sender", ["--bdy", "hello", "localhost/q"], "--bdy", "--body"),
            ("sender", ["localhost/q", "--body", "x", "--rte", "0"], "--rte", "--rate"),
            ("sender", ["localhost/q", "--body", "x", "--rate", "0", "--timout", "5"], "--timout", "--timeout"),
            ("receiver", ["--lisen"], "--lisen", "--listen"),
            ("receiver", ["localhost/q", "--cert", "x", "--ky", "y"], "--ky", "--key"),
            ("broker", ["--tls-cert", "x", "--tls-kye", "y"], "--tls-kye", "--tls-key"),
            ("demo", ["--jsn"], "--jsn", "--json"),
        ]
        for (name, arguments, wrong, right) in calls {
            let line = try await self.error(name, arguments, status: 64)
            #expect(line == "\(name): Unknown option '\(wrong)'. Did you mean '\(right)'?")
        }
        // Without an unknown option, the later checks report their errors.
        #expect(try await self.error("sender", ["localhost/q"], status: 64).contains("exactly one of --body"))
        #expect(try await self.error("sender", [], status: 64).contains("url"))
    }

    @Test func valuesOutOfRangeNameTheRange() async throws {
        let sending = [
            (["--count", "-1"], "0 or more"), (["--count", "1", "--size", "-1"], "0 or more"),
            (["--body", "x", "--timeout", "-1"], "0 or more"), (["--body", "x", "--priority", "-1"], "0 to 9"),
            (["--body", "x", "--message-priority", "256"], "0 to 255"), (["--stream", ""], "empty"),
            (["--body", "x", "--address", ""], "empty"), (["--file", ""], "empty"), (["--directory", ""], "empty"),
            (["--body", "x", "--password-file", "/dev/null"], "--user"),
        ]
        let receiving = [
            (["--window", "0"], "1 to 1000000"), (["--window", "4294967295"], "1 to 1000000"),
            (["--window", "-5"], "1 to 1000000"), (["--capacity", "1T"], "K, M or G"),
            (["--count", "-1"], "1 or more"),
            (["--output", ""], "empty"), (["--budget", "-1"], "K, M or G"),
        ]
        let calls = sending.map { ("sender", $0.0, $0.1) } + receiving.map { ("receiver", $0.0, $0.1) }
        for (name, arguments, word) in calls {
            let line = try await self.error(name, ["localhost/q"] + arguments, status: 64)
            #expect(line.contains(word), "\(line)")
        }
    }

    @Test func tlsErrorsNameOptions() async throws {
        let files = try TestCertificates.files()
        for (identity, isUnknown) in [(files.server, true), (files.wrongHost, false)] {
            var configuration = AMQPListener.Configuration()
            configuration.tls = AMQPServerTLS(identity: identity)
            try await ExamplesPeer.with(configuration) { _ in
            } _: { port in
                let options = isUnknown ? ["--body", "x"] : ["--body", "x", "--ca", files.path("ca.pem")]
                let line = try await self.error("sender", ["amqps://localhost:\(port)/q"] + options, status: 1)
                #expect(line.contains(isUnknown ? "--ca" : "another host name"), "\(line)")
                #expect(!line.contains("trustRoots") && !line.contains("serverName"), "\(line)")
            }
        }
    }

    /// The sender writes an address in a form that RabbitMQ 4 refuses, because the first slash ends the URL's host.
    @Test func aRefusalByRabbitMQExplainsItsAddresses() async throws {
        var configuration = AMQPListener.Configuration()
        configuration.connection.properties[symbol: "product"] = "RabbitMQ"
        let refusal = AMQPError(scope: .link, condition: .invalidField, detail: "bad address")
        try await ExamplesPeer.with(configuration, refusal: refusal) { _ in
        } _: { port in
            for (name, options) in [("sender", ["--body", "x"]), ("receiver", [])] {
                let line = try await self.error(name, ["127.0.0.1:\(port)/queues/orders"] + options, status: 1)
                #expect(line.contains("bad address") && line.contains("--address /queues/orders"), "\(line)")
                let right = try await self.error(name, ["127.0.0.1:\(port)//queues/orders"] + options, status: 1)
                #expect(!right.contains("--address"), "\(right)")
            }
        }
    }

    @Test func theHelpExplainsWithExamples() async throws {
        for name in ["sender", "receiver", "broker", "demo", "service"] {
            let help = try await ExampleProcess(name, ["--help"]).succeed()
            #expect(help.errors.isEmpty)
            #expect(help.output.contains("Exit codes:") && help.output.contains("Examples:"))
            guard ["sender", "receiver"].contains(name) else { continue }
            #expect(help.output.contains("localhost//queues/orders"))
        }
    }
}
