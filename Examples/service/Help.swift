// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import Foundation
import NIOCore

/// The help of the service. All settings of the service are environment variables.
enum Help {
    /// Prints the help for `--help`, and an error for any other argument. Exits unless there are no arguments.
    static func answer(_ arguments: some Collection<String>) {
        guard let argument = arguments.first else { return }
        guard ["-h", "--help"].contains(argument) else {
            Console.error("service: unknown argument '\(argument)': the settings are environment variables, see --help")
            exit(64)
        }
        do {
            try File.standardOutput().write(ByteBuffer(string: self.text), what: "stdout")
            exit(0)
        } catch {
            Console.error("service: \(error)")
            exit(1)
        }
    }

    private static let text = """
        OVERVIEW: Accept orders, have workers price them, and survive outages of the broker.

        Senders connect to the service and send orders. The service sends each order to the queue 'jobs' of the broker.
        A worker requests the price of the order through the queue 'prices', and sends the result to the queue 'done'.

        Examples:
          broker &
          AMQP_URLS=amqp://localhost SERVICE_PROBES_PORT=8080 service &
          sender localhost:5673/orders --count 1000
          receiver localhost/done --count 1000 --output -
          curl localhost:8080/ready
          kill -TERM %2

        With RabbitMQ 4:
          AMQP_URLS=amqp://guest:guest@localhost SERVICE_ADDRESS_PREFIX=/queues/ service

        USAGE: service

        ENVIRONMENT:
          AMQP_URLS                The URLs of the brokers, separated by commas: amqp[s]://[user:password@]host[:port],
                                   without an address. The service tries them in turn. Required.
          AMQP_USER, AMQP_PASSWORD The login. (default: the URL's)
          AMQP_TLS_AUTHORITIES     A PEM file with the authorities to trust with amqps. (default: the system's)
          AMQP_TLS_CERTIFICATE, AMQP_TLS_KEY
                                   PEM files with the certificate of the service and its key. (default: none)
          AMQP_ALLOWS_PLAIN_WITHOUT_TLS
                                   Whether to send a password to other machines without TLS. (default: false)
          AMQP_RECOVERY_FIRST_CONNECTION_TIMEOUT
                                   Seconds for the first connection; 0 for no limit. (default: 60)
          AMQP_RECOVERY_GIVE_UP_AFTER
                                   Seconds of an outage after which the service ends; 0 for no limit. (default: 0)
          SERVICE_HOST             The host name or address to listen on. (default: 127.0.0.1)
          SERVICE_INTAKE_PORT      The port for orders; 0 selects a free one. (default: 5673)
          SERVICE_PROBES_PORT      The port of /live, /ready and /metrics over HTTP. (default: none)
          SERVICE_ADDRESS_PREFIX   The prefix of the queues' addresses: /queues/ for RabbitMQ 4. (default: none)
          SERVICE_CONCURRENCY      The most jobs at the same time. (default: 16)
          SERVICE_WORK_SECONDS     How long a job takes in addition to its price. (default: 0)
          SERVICE_SHUTDOWN_LIMIT   Seconds for the whole shutdown: half for the intake, half for the rest. (default: 25)

        The article 'Surviving lost connections' (Recovery.md) lists further AMQP_... variables.

        Exit codes:
          0    it ran until SIGTERM or Ctrl-C; its last line counts the messages not sent and those in doubt
          1    an error: the port is busy, or the broker refused the service; stderr names the cause
          64   an unknown argument, or an environment variable that cannot be used

        """
}
