// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import Testing

/// A listener that treats a program's link as a test requires.
struct ExamplesPeer {
    /// Runs `body` with the port of a listener. `serve` is called with each link on which a program sends.
    static func with(
        _ configuration: AMQPListener.Configuration = .init(),
        window: AMQPReceiver.Window = .messages(100),
        refusal: AMQPError? = nil,
        _ serve: @escaping @Sendable (AMQPReceiver) async throws -> Void,
        _ body: (Int) async throws -> Void
    ) async throws {
        let listener = try await AMQPListener.bind(host: "127.0.0.1", port: 0, configuration: configuration)
        let service = Task {
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in listener {
                    group.addTask { try? await Self.serve(connection, window, refusal, serve) }
                }
            }
        }
        do {
            try await body(listener.port)
        } catch {
            service.cancel()
            throw error
        }
        service.cancel()
        await listener.close()
    }

    private static func serve(
        _ connection: AMQPConnection,
        _ window: AMQPReceiver.Window,
        _ refusal: AMQPError?,
        _ serve: @escaping @Sendable (AMQPReceiver) async throws -> Void
    ) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for try await wish in connection.incoming {
                switch wish {
                case .session(let session): try await session.accept()
                case .sender(let link):
                    link.refuse(refusal ?? AMQPError(scope: .link, condition: .notAllowed, detail: "no"))
                case .receiver(let link):
                    if let refusal {
                        link.refuse(refusal)
                    } else {
                        let receiver = try await link.accept(AMQPReceiver.Configuration(window: window))
                        group.addTask { try? await serve(receiver) }
                    }
                }
            }
        }
    }
}

/// A TCP listener that accepts connections and never answers.
final class SilentListener: Sendable {
    private let socket: RawSocket
    private let accepted = Mutex<[Int32]>([])

    init() throws {
        self.socket = try RawSocket()
        _ = fcntl(self.socket.descriptor, F_SETFL, O_NONBLOCK)
        self.socket.listen(backlog: 5)
    }

    var port: Int { self.socket.port }

    /// Waits for a connection, and keeps it open.
    func waitForConnection() async throws {
        let connection = try await lookUntil("a connection") { () -> Int32? in
            let connection = accept(self.socket.descriptor, nil, nil)
            return connection >= 0 ? connection : nil
        }
        self.accepted.withLock { $0.append(connection) }
    }

    deinit {
        for connection in self.accepted.withLock({ $0 }) { close(connection) }
    }
}
