// SPDX-License-Identifier: Apache-2.0

import TestSupport

#if ServiceLifecycle && Configuration
    import Foundation
    import FoundationNetworking
    import QpidProtonRabbitMQ
    import Testing

    /// The example service as a process under load: the effects of its own end and of its broker's end on the orders.
    @Suite(.serialized, .timeLimit(.minutes(5)))
    struct ExamplesServiceTests {
        @Test(arguments: [false, true])
        func aSignalUnderLoadLosesNothing(_ isFrozen: Bool) async throws {
            try await withBroker { broker, url in
                try await ServiceScene.with(url) { scene in
                    try await scene.expectNothingLost {
                        if isFrozen { broker.signal(SIGSTOP) }
                    } afterwards: {
                        broker.signal(SIGCONT)
                    }
                }
            }
        }

        @Test func theServiceSurvivesTheEndOfItsBroker() async throws {
            var broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:0"])
            defer { broker.signal(SIGKILL) }
            let port = try await broker.port()
            try await ServiceScene.with("amqp://127.0.0.1:\(port)") { scene in
                try await scene.expectReady(true)
                broker.signal(SIGKILL)
                try await scene.expectReady(false)
                #expect(try await scene.probe("live").status == 200)
                broker = try ExampleProcess("broker", ["--listen", "127.0.0.1:\(port)"])
                try await scene.expectReady(true)
                try await ExampleProcess("sender", [scene.orders, "--count", "50"]).succeed()
                let done = ["127.0.0.1:\(port)/done", "--count", "50", "--output", "-"]
                let receiver = try await ExampleProcess("receiver", done).succeed()
                #expect(receiver.output.contains(" at 3.20\n"), "\(receiver.output)")
                let metrics = try await scene.probe("metrics").text
                #expect(metrics.contains("amqp_client_losses 1.0\n"), "\(metrics)")
                scene.service.signal(SIGTERM)
                try await scene.service.succeed()
            }
        }

        @Test func aServiceWithoutABrokerStopsAtOnce() async throws {
            try await ServiceScene.with("amqp://127.0.0.1:1") { scene in
                try await scene.expectReady(false)
                scene.service.signal(SIGTERM)
                try await scene.service.succeed(3)
            }
        }

        @Test(arguments: [
            ("AMQP_IDLE_TIMEOUT", "soon", "AMQP_IDLE_TIMEOUT is \"soon\": it must be a number of seconds"),
            ("AMQP_IDLE_TIMEOUT", "0.001", "AMQP_IDLE_TIMEOUT is 0.001 seconds: it must be from 4 ms to 49 days, or 0"),
            ("AMQP_URLS", "", "AMQP_URLS is missing: give one URL or more"),
            ("AMQP_URLS", "amqp://localhost/q", "AMQP_URLS: the URL has the address \"q\""),
            ("AMQP_URLS", "a,http://b", "AMQP_URLS, number 2 of 2: the URL's scheme 'http' is not known"),
            ("AMQP_USER", "ann", "AMQP_USER is \"ann\", and AMQP_PASSWORD is missing"),
            ("AMQP_MECHANISM", "EXTERNAL", "use amqps://, and set AMQP_TLS_CERTIFICATE and AMQP_TLS_KEY"),
            ("SERVICE_INTAKE_PORT", "abc", "SERVICE_INTAKE_PORT is \"abc\": it must be a whole number from 0 to 65535"),
            (
                "SERVICE_PROBES_PORT", "99999",
                "SERVICE_PROBES_PORT is \"99999\": it must be a whole number from 0 to 65535"
            ),
            ("SERVICE_CONCURRENCY", "0", "SERVICE_CONCURRENCY is \"0\": it must be a whole number from 1"),
            ("SERVICE_WORK_SECONDS", "nan", "SERVICE_WORK_SECONDS is \"nan\": it must be a number from 0"),
            ("SERVICE_WORK_SECONDS", "1e300", "SERVICE_WORK_SECONDS is \"1e300\": it must be a number from 0"),
            ("SERVICE_SHUTDOWN_LIMIT", "-1", "SERVICE_SHUTDOWN_LIMIT is \"-1\": it must be a number from 0.1"),
        ])
        func aSettingThatCannotBeUsedIsNamed(_ variable: String, _ value: String, _ text: String) async throws {
            var environment = ["AMQP_URLS": "amqp://127.0.0.1:1", "SERVICE_INTAKE_PORT": "0"]
            environment[variable] = value
            let service = try ServiceScene.start(environment)
            defer { service.signal(SIGKILL) }
            #expect(try await service.waitForExit(20) == 64)
            #expect(service.errorLines.count == 1 && service.errors.contains(text), "\(service.errorLines)")
        }

        @Test func aPortThatIsInUseIsNamed() async throws {
            let socket = try RawSocket()
            socket.listen(backlog: 1)
            for name in ["SERVICE_INTAKE_PORT", "SERVICE_PROBES_PORT"] {
                var environment = ["AMQP_URLS": "amqp://127.0.0.1:1", "SERVICE_INTAKE_PORT": "0"]
                environment[name] = "\(socket.port)"
                let service = try ServiceScene.start(environment)
                defer { service.signal(SIGKILL) }
                #expect(try await service.waitForExit(20) == 1)
                let line = try #require(service.errorLines.first { $0.contains("127.0.0.1:\(socket.port)") })
                #expect(line.contains(name) && line.lowercased().contains("address already in use"), "\(line)")
            }
        }

        @Test func anArgumentIsRefused() async throws {
            let service = try ExampleProcess("service", ["--port", "5"])
            #expect(try await service.waitForExit() == 64)
            #expect(service.errorLines.count == 1 && service.errors.contains("'--port'"), "\(service.errorLines)")
        }

        /// Examples/README.md has a table of the variables.
        @Test func theHelpNamesEveryVariable() async throws {
            let help = try await ExampleProcess("service", ["--help"]).succeed()
            let readme = try String(contentsOfFile: Repository.path("Examples/README.md"), encoding: .utf8)
            let variables = readme.matches(of: /(?m)^\| `(SERVICE_\w+)`/).map { String($0.output.1) }
            #expect(variables.count == 7)
            for variable in variables + ["AMQP_URLS", "AMQP_TLS_AUTHORITIES"] {
                #expect(help.output.contains("  \(variable) "), "\(variable)")
            }
        }

        /// Counts the lines that a service needs for its recovery.
        @Test func theRecoveryNeedsFewLines() throws {
            let file = Repository.path("Examples/service/Recovery.swift")
            let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
            #expect((5..<20).contains(lines.count), "\(lines.count) lines")
        }
    }

    extension RabbitMQTests {
        @Suite(.timeLimit(.minutes(10)))
        struct ExampleService {
            @Test(arguments: [false, true])
            func aSignalUnderLoadLosesNothing(_ isFrozen: Bool) async throws {
                let broker = try RabbitMQBroker.required()
                try await RabbitMQScene.with { scene in
                    for name in ["jobs", "done", "prices"] { try await scene.management.deleteQueue(name) }
                }
                let text = try await broker.control("eval", "os:getpid().")
                let process = try #require(Int32(text.filter(\.isNumber)), "\(text)")
                defer { kill(process, SIGCONT) }
                try await ServiceScene.with(broker.url, prefix: "/queues/") { scene in
                    try await scene.expectNothingLost {
                        if isFrozen { try #require(kill(process, SIGSTOP) == 0) }
                    } afterwards: {
                        kill(process, SIGCONT)
                    }
                }
            }
        }
    }

    /// A running service, and its broker.
    private struct ServiceScene {
        static let limit = 6.0

        let service: ExampleProcess
        let broker: String
        let prefix: String
        let probesPort: Int
        /// The URL to which orders are sent.
        let orders: String

        static func start(_ environment: [String: String]) throws -> ExampleProcess {
            let exports = environment.map { "export \($0.key)='\($0.value)'" }.joined(separator: "; ")
            return try ExampleProcess("service", [], redirections: "", prelude: exports)
        }

        static func with(_ broker: String, prefix: String = "", _ body: (Self) async throws -> Void) async throws {
            let service = try self.start([
                "AMQP_URLS": broker, "SERVICE_ADDRESS_PREFIX": prefix, "SERVICE_INTAKE_PORT": "0",
                "SERVICE_PROBES_PORT": "0", "SERVICE_WORK_SECONDS": "0.01",
                "SERVICE_SHUTDOWN_LIMIT": "\(Self.limit)",
            ])
            defer { service.signal(SIGKILL) }
            let port = { (_ text: String) in
                try await lookUntil(text, 30) {
                    let line = service.errorLines.first { $0.contains(text) }
                    return line?.firstMatch(of: /port=(\d+)/).flatMap { Int($0.output.1) }
                }
            }
            let scene = try await Self(
                service: service,
                broker: broker,
                prefix: prefix,
                probesPort: port("answering probes"),
                orders: "127.0.0.1:\(port("taking orders"))/orders"
            )
            try await body(scene)
        }

        // MARK: Probes

        func probe(_ path: String) async throws -> (status: Int, text: String) {
            let url = try #require(URL(string: "http://127.0.0.1:\(self.probesPort)/\(path)"))
            let (data, response) = try await URLSession.shared.data(from: url)
            return (try #require(response as? HTTPURLResponse).statusCode, String(decoding: data, as: UTF8.self))
        }

        func expectReady(_ isReady: Bool) async throws {
            let deadline = ContinuousClock.now + .seconds(30)
            while try await self.probe("ready").status != (isReady ? 200 : 503) {
                try #require(.now < deadline, "it is never \(isReady ? "ready" : "down"): \(self.service.errorLines)")
                try await Task.sleep(for: .milliseconds(20))
            }
        }

        // MARK: The account

        /// Reads the numbers of the messages in a queue, and leaves the queue empty.
        private func numbers(in queue: String) async throws -> [Int] {
            let options = ["--address", self.prefix + queue, "--idle-timeout", "2", "--output", "-"]
            let receiver = try await ExampleProcess("receiver", [self.broker] + options).succeed(120)
            return receiver.output.split(separator: "\n").compactMap { Int($0.prefix(20)) }
        }

        /// Returns a figure from the service's log.
        private func figure(_ name: String) throws -> Int {
            let pattern = try Regex("\\b\(name)=(\\d+)", as: (Substring, Substring).self)
            let line = self.service.errorLines.last { $0.contains(pattern) }
            return try #require(line?.firstMatch(of: pattern).flatMap { Int($0.output.1) }, "no \(name)")
        }

        /// Ends the service by SIGTERM under load, and compares its sender's account with the broker's messages.
        func expectNothingLost(
            before: () async throws -> Void,
            afterwards: () async throws -> Void
        ) async throws {
            try await self.expectReady(true)
            let sender = try ExampleProcess("sender", [self.orders, "--count", "200000", "--rate", "3000", "--json"])
            let sent = {
                (try await self.probe("metrics").text)
                    .firstMatch(of: /amqp_messages_sent\{address="[^"]*done"\} (\d+)/)
                    .flatMap { Int($0.output.1) } ?? 0
            }
            let deadline = ContinuousClock.now + .seconds(60)
            while try await sent() < 500 {
                try #require(.now < deadline, "no results: \(self.service.errorLines)")
            }
            try await before()
            let start = ContinuousClock.now
            self.service.signal(SIGTERM)
            let status = try await self.service.waitForExit(Self.limit + 10)
            let time = ContinuousClock.now - start
            try await afterwards()
            #expect(status == 0, "\(self.service.errorLines)")
            #expect(time < .seconds(Self.limit + 3), "\(time)")
            try await sender.waitForExit()
            let accepted = try #require(sender.json()["accepted"])
            #expect(accepted > 500)
            let all = try await self.numbers(in: "jobs") + self.numbers(in: "done")
            let distinct = Set(all)
            let doubtful = try self.figure("in_doubt") + self.figure("settlements_in_doubt")
            print(
                "accepted \(accepted), at the broker \(distinct.count), twice \(all.count - distinct.count),",
                "in doubt \(doubtful), stopped within \(time)"
            )
            #expect(distinct.count >= accepted, "lost: \(accepted - distinct.count)")
            #expect(distinct.count <= accepted + (try sender.json()["messages"] ?? 0))
            #expect(all.count - distinct.count <= doubtful, "twice: \(all.count - distinct.count) of \(doubtful)")
        }
    }
#endif
