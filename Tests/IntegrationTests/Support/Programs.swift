// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// An AMQP peer that is not built on this library; its source is in Peers/.
enum ForeignPeer: Sendable, CustomStringConvertible {
    case python
    case cpp

    var description: String {
        switch self {
        case .python: "python3-qpid-proton"
        case .cpp: "Proton C++"
        }
    }

    /// Starts the peer, which sends `messages` if it is a sender. They are in the canonical text.
    func start(
        _ arguments: [String],
        messages: [String] = [],
        environment: [String: String] = [:]
    ) throws -> ChildProcess {
        let input = messages.map { $0 + "\n" }.joined()
        switch self {
        case .python:
            let python = "/usr/bin/python3"
            try Self.require(python, "run dev/setup --tests")
            let script = Repository.path("Tests/IntegrationTests/Peers/peer.py")
            return try ChildProcess(python, [script] + arguments, input: .file(input), environment: environment)
        case .cpp:
            let program = Repository.path(".build/peers/peer")
            try Self.require(program, "run dev/setup --tests, then dev/peers")
            return try ChildProcess(program, arguments, input: .file(input), environment: environment)
        }
    }

    /// Starts the peer as a listener on a free port.
    func listen(
        _ arguments: [String],
        messages: [String] = [],
        environment: [String: String] = [:]
    ) async throws -> (process: ChildProcess, port: Int) {
        let arguments = ["listen", "127.0.0.1:0"] + arguments
        let process = try self.start(arguments, messages: messages, environment: environment)
        let port = try await process.waitForErrors(matching: /listening (\d+)\n/)
        return (process, Int(port) ?? 0)
    }

    static func require(_ program: String, _ remedy: String) throws {
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw MissingProgram(description: "\(program) is missing: \(remedy)")
        }
    }
}
