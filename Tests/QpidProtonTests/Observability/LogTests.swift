// SPDX-License-Identifier: Apache-2.0

import CProton
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The log lines of the library, and their metadata keys.
@Suite(.deadline)
struct LogTests {
    @Test func theArticleListsEveryKey() throws {
        let listed = try Article.observability.rows(under: "Key").map { $0[0] }
        #expect(listed == LogKey.allCases.map(\.rawValue).sorted())
        #expect(LogKey.allCases.allSatisfy { $0.rawValue.hasPrefix("amqp.") })
    }

    @Test func theLinesOfAConnectionNameIt() async throws {
        let lines = LogLines()
        try await withSession(logger: lines.logger) { session, _ in
            _ = try await session.openSender(to: "orders")
        }
        let attached = try #require(lines.all.first { $0.message == "link attached" })
        #expect(Int(attached["amqp.connection"] ?? "") != nil)
        #expect(attached["amqp.container"] == "peer")
        #expect(attached["amqp.address"] == "orders")
        #expect(attached["amqp.link"]?.isEmpty == false)
        let numbers = Set(lines.all.compactMap { $0["amqp.connection"] })
        #expect(numbers.count == 1)
        try await withSession(logger: lines.logger) { _, _ in }
        #expect(Set(lines.all.compactMap { $0["amqp.connection"] }).count == 2)
    }

    /// The keys are in the enum, messages are constant, and every error has its condition.
    @Test func everyLineHasConstantTextAndKnownKeys() async throws {
        let lines = LogLines()
        var configuration = AMQPConnection.Configuration()
        configuration.tracesFrames = true
        configuration.stallWarning = .seconds(1)
        configuration.idleTimeout = nil
        for number in 0..<2 {
            try await withSession(configuration: configuration, logger: lines.logger, { PeerScript(credit: nil) }) {
                session,
                peer in
                let sender = try await session.openSender(to: "orders-\(number)")
                let receiver = try await session.openReceiver(from: "orders-\(number)", window: .messages(4))
                for _ in 0..<3 { try sender.trySend(encoded: payload(10 + number)) }
                try await peer.run { peer in
                    for _ in 0..<2 { peer.send(payload(10), on: peer.links[1]) }
                }
                let held = try await receiver.next()
                await peer.advance(by: .seconds(3), steps: 12)
                try await peer.run { peer in
                    for link in peer.links {
                        pn_condition_set_name(pn_link_condition(link), "amqp:not-found")
                        pn_link_close(link)
                    }
                }
                held?.accept()
                await peer.settle()
                try await peer.loseConnection()
            }
        }
        let known = Set(LogKey.allCases.map(\.rawValue))
        for line in lines.all {
            #expect(known.isSuperset(of: line.metadata.keys), "\(line)")
            #expect((line["amqp.error"] == nil) == (line["amqp.condition"] == nil), "\(line)")
            // Variable parts belong in the metadata.
            #expect(!line.message.contains { $0.isNumber } || line.message.contains("512 bytes"), "\(line)")
        }
        let texts = Set(lines.all.map(\.message))
        #expect(
            texts.isSuperset(of: [
                "a link with pending work makes no progress", "link closed by the peer", "frame", "connection opened",
                "messages failed: their sender has ended",
            ]),
            "\(texts)"
        )
        let closed = try #require(lines.all.first { $0.message == "link closed by the peer" })
        #expect(closed["amqp.condition"] == "amqp:not-found")
        let stalled = try #require(lines.all.first { $0.message.contains("no progress") })
        #expect(stalled["amqp.cause"] == "credit" && stalled["amqp.seconds"] == "1", "\(stalled)")
    }
}

/// A file of the documentation.
struct Article {
    static var observability: Article {
        get throws { try Article(path: "Sources/QpidProton/QpidProton.docc/Observability.md") }
    }

    let text: String

    /// - Parameter path: The path from the root of the repository.
    init(path: String) throws {
        self.text = try Repository.text(of: path)
    }

    /// Returns the rows of the table whose first column has this title. The cells omit the marks of code.
    func rows(under title: String) throws -> [[String]] {
        let lines = self.text.split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex { $0.hasPrefix("| \(title) |") })
        return lines[(start + 2)...].prefix { $0.hasPrefix("|") }.map { Self.cells($0) }
    }

    static func cells(_ row: Substring) -> [String] {
        row.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast().map {
            $0.replacing("`", with: "").trimmingCharacters(in: .whitespaces)
        }
    }
}
