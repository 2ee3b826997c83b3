// SPDX-License-Identifier: Apache-2.0

import TestSupport

/// Proton's own example programs, which dev/peers compiles from Debian's package.
enum ProtonExample: String, CaseIterable {
    /// Sends messages, and waits until each is accepted.
    case send = "c-send"
    /// Sends 79,000 bytes of each message, and aborts it.
    case sendAbort = "c-send-abort"
    /// Prints complete messages, and "Message aborted" for aborted ones.
    case receive = "c-receive"
    /// The broker in C, which prints "Message aborted". It keeps only the last piece of a message, so whole messages
    /// must fit into one frame.
    case broker
    /// The broker in C++, which ends when a sender aborts a message.
    case cppBroker = "cpp-broker"

    private func start(_ arguments: [String], traced: Bool = false) throws -> ChildProcess {
        let program = Repository.path(".build/peers/\(self.rawValue)")
        try ForeignPeer.require(program, "run dev/setup --tests, then dev/peers")
        return try ChildProcess(program, arguments, environment: traced ? ProtonTrace.environment : [:])
    }

    /// Starts a client that sends or receives `count` messages, connected to a port of this machine.
    func start(port: Int, address: String, count: Int) throws -> ChildProcess {
        try self.start(["127.0.0.1", "\(port)", address, "\(count)"], traced: true)
    }

    /// Runs `body` with a broker and its port.
    func withBroker(_ body: (ChildProcess, Int) async throws -> Void) async throws {
        let broker = try self.start(self == .broker ? ["127.0.0.1", "0"] : ["-a", "127.0.0.1:0"])
        var port: Int?
        try await waitUntil("\(self.rawValue) listens") {
            port = broker.output.firstMatch(of: /listening on (\d+)\n/).flatMap { Int($0.1) }
            return port != nil || !broker.isRunning
        }
        guard let port else { throw ProcessFailure(name: self.rawValue, cause: "it ended", errors: broker.errors) }
        try await body(broker, port)
        // Neither broker ends by itself.
        broker.kill()
        try await waitUntil("the broker ends") { !broker.isRunning }
    }
}

/// The trace of sent and received frames that Proton writes to stderr.
enum ProtonTrace {
    static let environment = ["PN_TRACE_FRM": "1"]

    /// Returns the number of transfers that the process has sent, and the number of those that abort their message.
    static func sent(by process: ChildProcess) -> (transfers: Int, aborts: Int) {
        let transfers = process.errors.split(separator: "\n").filter { $0.contains("-> @transfer") }
        return (transfers.count, transfers.count { $0.contains("aborted=true") })
    }
}
