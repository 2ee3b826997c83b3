// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore
import QpidProton

/// The peer of ``Priority`` and ``Neighbour``: a listener whose addresses behave as ``Place`` describes.
struct Sink: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sink",
        abstract: "The process that priority and neighbour start.",
        shouldDisplay: false
    )

    /// The behaviour of a link, by its address.
    enum Place: String {
        /// Accepts all messages at once.
        case fast
        /// The same for large messages, with the credit from the command line.
        case bulk
        /// Accepts 100 messages a second.
        case slow
        /// Grants credit for 100 messages, and then no more.
        case stalled
        /// Grants no credit.
        case creditless
        /// Sends as fast as possible.
        case source
    }

    static let sourceSize = 4_096

    @Option var capacity = AMQPSession.Configuration().incomingCapacity.bytes
    @Option var credit = 16

    func run() async throws {
        Watchdog.endWithParent()
        let listener = try await AMQPListener.bind(port: 0)
        Output.line("port \(listener.port)")
        let session = AMQPSession.Configuration(incomingCapacity: AMQPByteCount(self.capacity))
        await withDiscardingTaskGroup { group in
            let connections = listener.makeAsyncIterator()
            while let connection = try? await connections.next(isolation: nil) {
                group.addTask { await self.serve(connection, session) }
            }
        }
    }

    private func serve(_ connection: AMQPConnection, _ configuration: AMQPSession.Configuration) async {
        do {
            try await self.take(connection, configuration)
        } catch {
            // This also runs when the peer drops the connection.
            FileHandle.standardError.write(Data("sink: \(error)\n".utf8))
        }
    }

    private func take(_ connection: AMQPConnection, _ configuration: AMQPSession.Configuration) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for try await wish in connection.incoming {
                switch wish {
                case .session(let session): try await session.accept(configuration)
                case .receiver(let link):
                    let place = link.attach.target?.address.flatMap { Place(rawValue: $0) } ?? .fast
                    let receiver = try await link.accept(.init(window: self.window(place)))
                    group.addTask { try? await Self.receive(receiver, place) }
                case .sender(let link):
                    let sender = try await link.accept()
                    group.addTask { try? await Self.send(sender) }
                }
            }
            group.cancelAll()
        }
    }

    private func window(_ place: Place) -> AMQPReceiver.Window {
        switch place {
        case .fast, .source: .messages(256)
        case .bulk: .messages(self.credit)
        case .slow: .messages(16)
        case .stalled, .creditless: .manual
        }
    }

    private static func receive(_ receiver: AMQPReceiver, _ place: Place) async throws {
        if place == .stalled { receiver.grant(credit: 100) }
        while case let batch = try await receiver.nextBatch(max: place == .slow ? 1 : 64), !batch.isEmpty {
            if place == .slow { try await Task.sleep(for: .milliseconds(10)) }
            batch.acceptAll()
        }
    }

    private static func send(_ sender: AMQPSender) async throws {
        let message = try AMQPMessage(body: ByteBuffer(repeating: 0x5a, count: self.sourceSize)).encoded()
        while !Task.isCancelled { try await sender.enqueue(encoded: message) }
    }
}
