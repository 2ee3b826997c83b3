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
    private let descriptor: Int32
    private let accepted = Mutex<[Int32]>([])
    let port: Int

    init() throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, length) = (self.descriptor, size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && listen(descriptor, 5) == 0
                    && getsockname(descriptor, address, &size) == 0
            }
        }
        self.port = Int(UInt16(bigEndian: address.sin_port))
        try #require(isBound)
    }

    /// Waits for a connection, and keeps it open.
    func waitForConnection() async throws {
        let connection = try await lookUntil("a connection") { () -> Int32? in
            let connection = accept(self.descriptor, nil, nil)
            return connection >= 0 ? connection : nil
        }
        self.accepted.withLock { $0.append(connection) }
    }

    deinit {
        for connection in self.accepted.withLock({ $0 }) { close(connection) }
        close(self.descriptor)
    }
}
