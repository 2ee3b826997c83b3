// SPDX-License-Identifier: Apache-2.0

import TestSupport

#if Configuration
    import Configuration
    import Foundation
    import Synchronization
    import Testing

    @testable import QpidProton

    /// Client settings read from a swift-configuration reader.
    @Suite struct ClientSettingsTests {
        private static func reader(_ environment: [String: String]) -> ConfigReader {
            ConfigReader(provider: EnvironmentVariablesProvider(environmentVariables: environment))
        }

        private static func configuration(
            _ values: [AbsoluteConfigKey: ConfigValue]
        ) throws(AMQPError) -> AMQPClient.Configuration {
            try AMQPClient.Configuration(reader: ConfigReader(provider: InMemoryProvider(values: values)))
        }

        private static func failure(_ environment: [String: String]) -> AMQPError? {
            do throws(AMQPError) {
                _ = try AMQPClient(reader: self.reader(environment))
                return nil
            } catch {
                return error
            }
        }

        @Test func settingsWithoutAKeyAreAdded() throws {
            let environment = ["AMQP_URLS": "amqp://a.example", "AMQP_SHUTDOWN_LIMIT": "20"]
            let client = try AMQPClient(reader: Self.reader(environment)) { configuration in
                #expect(configuration.shutdownLimit == .seconds(20))
                configuration.shutdownLimit = .seconds(5)
                configuration.connection.metrics = AMQPMetrics()
            }
            #expect(client.configuration.shutdownLimit == .seconds(5))
            #expect(client.configuration.connection.metrics != nil)
        }

        @Test func theEnvironmentSetsEveryKey() throws {
            let environment = [
                "AMQP_URLS": "amqps://a.example, amqp://b.example:5673", "AMQP_USER": "orders",
                "AMQP_PASSWORD": "secret",
                "AMQP_ALLOWS_PLAIN_WITHOUT_TLS": "true", "AMQP_CONTAINER_ID": "orders-1", "AMQP_VIRTUAL_HOST": "shop",
                "AMQP_TLS_AUTHORITIES": "/ca.pem", "AMQP_TLS_CERTIFICATE": "/own.pem", "AMQP_TLS_KEY": "/own.key",
                "AMQP_TLS_SERVER_NAME": "broker.example", "AMQP_TLS_VERIFICATION": "chain",
                "AMQP_TLS_MINIMUM_VERSION": "1.3", "AMQP_RECOVERY_FIRST_DELAY": "0.25",
                "AMQP_RECOVERY_LONGEST_DELAY": "5", "AMQP_RECOVERY_FIRST_CONNECTION_TIMEOUT": "0",
                "AMQP_RECOVERY_GIVE_UP_AFTER": "3600", "AMQP_RECOVERY_ANNOUNCED_HOSTS": "add", "AMQP_IDLE_TIMEOUT": "0",
                "AMQP_CONNECT_TIMEOUT": "1",
                "AMQP_OPEN_TIMEOUT": "2", "AMQP_OPERATION_TIMEOUT": "3", "AMQP_SHUTDOWN_LIMIT": "20",
                "AMQP_SESSION_LIMIT": "4", "AMQP_MAX_FRAME_SIZE": "4096", "AMQP_SEND_LIMIT": "1048576",
                "AMQP_INCOMING_CAPACITY": "65536",
            ]
            let client = try AMQPClient(reader: Self.reader(environment))
            #expect(client.supervisor.urls.map(\.host) == ["a.example", "b.example"])
            #expect(client.supervisor.urls.map(\.isTLS) == [true, false])
            let found = client.configuration
            #expect(
                found.connection.sasl
                    == .plain(username: "orders", password: "secret").allowingPlainWithoutTLS()
            )
            #expect(found.connection.containerID == "orders-1" && found.connection.virtualHost == "shop")
            #expect(
                found.connection.tls
                    == AMQPTLS(
                        trustRoots: .file("/ca.pem"),
                        identity: .files(certificateChain: "/own.pem", privateKey: "/own.key"),
                        verification: .noHostnameVerification,
                        serverName: "broker.example",
                        minimumVersion: .tls13
                    )
            )
            #expect(found.recovery.firstDelay == .milliseconds(250) && found.recovery.longestDelay == .seconds(5))
            #expect(found.recovery.firstConnectionTimeout == nil && found.recovery.giveUpAfter == .seconds(3_600))
            #expect(found.recovery.announcedHosts == .add)
            #expect(found.connection.idleTimeout == nil && found.connection.connectTimeout == .seconds(1))
            #expect(found.connection.openTimeout == .seconds(2) && found.connection.operationTimeout == .seconds(3))
            #expect(found.shutdownLimit == .seconds(20) && found.sessionLimit == 4)
            #expect(found.connection.maxFrameSize == 4_096 && found.connection.sendLimit?.high == .mebibytes(1))
            #expect(found.session.incomingCapacity == .kibibytes(64))
            // The environment sets every key except the mechanism, which has a test of its own.
            #expect(environment.count == ClientKey.allCases.count - 1)
        }

        @Test func withoutKeysEverythingHasItsDefault() throws {
            let found = try Self.configuration([:])
            let standard = AMQPClient.Configuration()
            #expect(
                found.connection.sasl == standard.connection.sasl && found.connection.tls == standard.connection.tls
            )
            #expect(found.recovery == standard.recovery && found.session == standard.session)
            #expect(found.connection.idleTimeout == standard.connection.idleTimeout)
            #expect(found.connection.maxFrameSize == standard.connection.maxFrameSize)
            #expect(found.connection.sendLimit == nil && found.sessionLimit == standard.sessionLimit)
            #expect(found.shutdownLimit == standard.shutdownLimit)
            // An empty variable counts as absent.
            let empty = try AMQPClient.Configuration(
                reader: Self.reader(["AMQP_USER": "", "AMQP_TLS_SERVER_NAME": ""])
            )
            #expect(empty.connection.sasl == .automatic && empty.connection.tls.serverName == nil)
        }

        @Test func typedValuesAreAccepted() throws {
            let found = try Self.configuration([
                "amqp.recovery.giveUpAfter": 60, "amqp.idleTimeout": 1.5, "amqp.mechanism": "external",
                "amqp.sessionLimit": 2, "amqp.allowsPlainWithoutTLS": false,
            ])
            #expect(found.recovery.giveUpAfter == .seconds(60) && found.connection.idleTimeout == .seconds(1.5))
            #expect(found.connection.sasl == .external && found.sessionLimit == 2)
            let urls: ConfigValue = .init(.stringArray(["amqp://a", "amqp://b"]), isSecret: false)
            let client = try AMQPClient(reader: ConfigReader(provider: InMemoryProvider(values: ["amqp.urls": urls])))
            #expect(client.supervisor.urls.map(\.host) == ["a", "b"])
        }

        @Test func aScopedReaderConfiguresOneClient() throws {
            let reader = Self.reader(["ORDERS_AMQP_URLS": "amqp://orders", "AMQP_URLS": "amqp://others"])
            #expect(try AMQPClient(reader: reader.scoped(to: "orders")).supervisor.urls.map(\.host) == ["orders"])
        }

        @Test(arguments: [
            (
                "AMQP_RECOVERY_FIRST_DELAY", "soon",
                "amqp.recovery.firstDelay is \"soon\": it must be a number of seconds"
            ),
            (
                "AMQP_RECOVERY_FIRST_DELAY", "0",
                "amqp.recovery.firstDelay is 0.0: it must be a number of seconds above 0"
            ),
            ("AMQP_RECOVERY_GIVE_UP_AFTER", "-1", "amqp.recovery.giveUpAfter is -1.0: it must be"),
            ("AMQP_RECOVERY_LONGEST_DELAY", "0.01", "amqp.recovery.longestDelay is 0.01 seconds: it must be at least"),
            (
                "AMQP_IDLE_TIMEOUT", "0.001",
                "amqp.idleTimeout is 0.001 seconds: it must be from 4 ms to 49 days, or 0 for none"
            ),
            ("AMQP_IDLE_TIMEOUT", "nan", "amqp.idleTimeout is nan: it must be a number of seconds"),
            ("AMQP_OPEN_TIMEOUT", "9e9", "amqp.openTimeout is"),
            ("AMQP_SESSION_LIMIT", "many", "amqp.sessionLimit is \"many\": it must be a number of sessions"),
            ("AMQP_SESSION_LIMIT", "0", "amqp.sessionLimit is 0: it must be at least 1"),
            ("AMQP_MAX_FRAME_SIZE", "100", "amqp.maxFrameSize is 100 B: 512 B is the least"),
            ("AMQP_MAX_FRAME_SIZE", "64K", "amqp.maxFrameSize is \"64K\": it must be a number of bytes, for example"),
            ("AMQP_INCOMING_CAPACITY", "1000", "amqp.incomingCapacity is 1000 B: it must be at least twice"),
            (
                "AMQP_ALLOWS_PLAIN_WITHOUT_TLS", "maybe",
                "amqp.allowsPlainWithoutTLS is \"maybe\": it must be true or false"
            ),
            ("AMQP_MECHANISM", "GSSAPI", "amqp.mechanism is \"GSSAPI\": it must be one of ANONYMOUS, EXTERNAL"),
            ("AMQP_TLS_VERIFICATION", "off", "amqp.tls.verification is \"off\": it must be one of full, chain, none"),
            ("AMQP_TLS_MINIMUM_VERSION", "1.1", "amqp.tls.minimumVersion is \"1.1\": it must be one of 1.2, 1.3"),
            ("AMQP_TLS_KEY", "/k", "amqp.tls.key is given, and amqp.tls.certificate is missing: give both"),
            ("AMQP_TLS_CERTIFICATE", "/c", "amqp.tls.certificate is given, and amqp.tls.key is missing: give both"),
            ("AMQP_USER", "orders", "amqp.user is \"orders\", and amqp.password is missing: give both"),
            ("AMQP_PASSWORD", "s3cret", "amqp.password is given, and amqp.user is missing: give both"),
            ("AMQP_CONTAINER_ID", "a\0b", "amqp.containerID"),
            ("AMQP_URLS", "", "amqp.urls is missing: give one URL or more"),
            ("AMQP_URLS", "amqp://a/q", "amqp.urls: the URL has the address \"q\""),
            ("AMQP_URLS", "a,ann@b", "amqp.urls, number 2 of 2: there is a user but no password"),
            ("AMQP_MECHANISM", "EXTERNAL", "amqp.urls: SASL EXTERNAL needs TLS and a client certificate"),
            (
                "AMQP_URLS", "amqp://a,http://u:s3cret@b",
                "amqp.urls, number 2 of 2: the URL's scheme 'http' is not known"
            ),
        ])
        func aWrongValueIsNamedWithItsRemedy(_ variable: String, _ value: String, _ text: String) throws {
            var environment = ["AMQP_URLS": "amqp://localhost"]
            environment[variable] = value
            let error = try #require(Self.failure(environment))
            #expect(error.condition == .invalidArgument)
            #expect(error.detail.hasPrefix(text), "\(error)")
            #expect(!"\(error)".contains("s3cret"))
        }

        @Test func aSecretOfAnotherTypeIsNotShown() throws {
            let error = try #require(throws: AMQPError.self) {
                try Self.configuration(["amqp.user": "u", "amqp.password": 4711])
            }
            #expect(error.detail == "amqp.password is of another type: it must be a text")
            let other = try #require(throws: AMQPError.self) { try Self.configuration(["amqp.user": 4711]) }
            #expect(other.detail == "amqp.user is 4711: it must be a text")
        }

        @Test func passwordsAreReadAsSecrets() throws {
            let log = AccessLog()
            let environment = ["AMQP_URLS": "amqp://u:p@localhost", "AMQP_USER": "u", "AMQP_PASSWORD": "s3cret"]
            let provider = EnvironmentVariablesProvider(environmentVariables: environment)
            _ = try AMQPClient(reader: ConfigReader(provider: provider, accessReporter: log))
            #expect(log.secrets == ["amqp.password", "amqp.urls"])
        }

        @Test func theArticleListsEveryKey() throws {
            let article = try Repository.text(of: "Sources/QpidProton/QpidProton.docc/Recovery.md")
            let listed = article.matches(of: /(?m)^\| `(amqp\.[\w.]+)` \| `(AMQP_\w+)` \|/)
            #expect(listed.map { String($0.output.1) } == ClientKey.allCases.map(\.rawValue))
            // The provider maps each environment name of the article to a key.
            for match in listed {
                let reader = Self.reader([String(match.output.2): "x"])
                #expect(reader.string(forKey: ConfigKey(String(match.output.1))) == "x", "\(match.output.2)")
            }
        }
    }

    /// Records which secrets were read.
    private final class AccessLog: AccessReporter {
        private let found = Mutex<Set<String>>([])
        var secrets: [String] { self.found.withLock { $0.sorted() } }

        func report(_ event: AccessEvent) {
            guard case .success(let value?) = event.result, value.isSecret else { return }
            self.found.withLock { _ = $0.insert(event.metadata.key.description) }
        }
    }
#endif
