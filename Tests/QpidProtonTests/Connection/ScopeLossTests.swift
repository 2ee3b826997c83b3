// SPDX-License-Identifier: Apache-2.0

import CProton
import Foundation
import NIOCore
import Testing

@testable import QpidProton

/// Messages that are lost while a scope runs. The scope reports them when it ends, unless the application has read
/// their errors.
@Suite(.deadline)
struct ScopeLossTests {
    private static let withoutCredit = { @Sendable () -> PeerScript in
        var script = PeerScript()
        script.credit = nil
        return script
    }

    /// How the peer ends the link before the scope ends.
    enum Loss: CaseIterable {
        case close, detach, closeWithError, sessionEnd, connectionClose, connectionLost

        func run(_ peer: InMemoryPeer) async throws {
            if self == .connectionLost { return try await peer.loseConnection() }
            try await peer.run { peer in
                let link = peer.links[0]
                switch self {
                case .close: pn_link_close(link)
                case .detach: pn_link_detach(link)
                case .closeWithError:
                    pn_condition_set_name(pn_link_condition(link), "x:end")
                    pn_link_close(link)
                case .sessionEnd: pn_session_close(pn_link_session(link))
                case .connectionClose: pn_connection_close(peer.connection)
                case .connectionLost: break
                }
            }
        }
    }

    @Test(arguments: Loss.allCases, [AMQPError.Scope.link, .session, .connection])
    func aScopeReportsMessagesLostByItsLinks(loss: Loss, scope: AMQPError.Scope) async throws {
        try await withPeer(Self.withoutCredit) { connection, peer in
            let body = { @Sendable (sender: AMQPSender) in
                for _ in 0..<2 { try sender.trySend(AMQPMessage(body: "x")) }
                await peer.settle()
                try await loss.run(peer)
            }
            let error = await #expect(throws: AMQPError.self) {
                switch scope {
                case .link:
                    try await connection.openSession().withSender(to: "q") { try await body($0) }
                case .session:
                    try await connection.withSession { try await body($0.openSender(to: "q")) }
                default:
                    try await connection.scope(within: .seconds(5)) {
                        try await body($0.openSession().openSender(to: "q"))
                    }
                }
            }
            #expect(error?.fate == .notSent, "\(error as Any)")
            #expect(error?.detail.contains("2 messages not sent when a link ended before") == true, "\(error as Any)")
            #expect(error?.condition != .timeout, "\(error as Any)")
            // The error names each cause once.
            let line = error?.description ?? ""
            for words in ["x:end", "the peer closed the link", "the connection was lost"] {
                #expect(line.components(separatedBy: words).count <= 2, "\(line)")
            }
        }
    }

    /// The scope reports only failures that the application has not read.
    @Test func messagesReadByTheBodyAreNoLoss() async throws {
        try await withPeer(Self.withoutCredit) { connection, peer in
            try await connection.scope(within: .seconds(5)) { connection in
                let sender = try await connection.openSession().openSender(to: "q")
                let trackers = try (0..<3).map { _ in try sender.trySend(AMQPMessage(body: "x")) }
                let waiting = begin { try await trackers[0].outcome() }
                await peer.settle()
                try await Loss.close.run(peer)
                await expectError(.closed) { try await waiting.value }
                #expect(trackers[1].result != nil)
                await expectError(.closed) { try await trackers[2].outcome() }
                let result = await sender.close(within: .seconds(1))
                #expect(result.isComplete, "\(result)")
            }
        }
    }

    @Test func aLaterCloseCountsUnreadFailures() async throws {
        try await withSession({ .settlingNothing }) { session, peer in
            let sender = try await session.openSender(to: "q")
            let tracker = try await sender.enqueue(AMQPMessage(body: "x"))
            await peer.settle()
            try await Loss.closeWithError.run(peer)
            let result = await sender.close(within: .seconds(1))
            #expect(result.inDoubtBefore == 1 && result.notSentBefore == 0 && !result.isComplete)
            #expect("\(result)".contains("1 message in doubt when a link ended before"), "\(result)")
            #expect(tracker.result != nil)
            #expect(await session.close().inDoubtBefore == 0)
        }
    }

    /// The list of the close contains each message that was accepted while the link closed.
    @Test(arguments: [AMQPError.Scope.link, .session, .connection], [Duration.zero, .milliseconds(50)])
    func everyMessageThatACloseMeetsIsListed(scope: AMQPError.Scope, limit: Duration) async throws {
        for _ in 0..<20 {
            try await withSession(Self.withoutCredit) { session, peer in
                let sender = try await session.openSender(to: "q")
                let isOver = Reply<Void>()
                let senders = (0..<3).map { _ in
                    Task.detached {
                        var trackers: [AMQPTracker] = []
                        while isOver.answer == nil, let tracker = try? sender.trySend(AMQPMessage(body: "x")) {
                            trackers.append(tracker)
                        }
                        return trackers
                    }
                }
                let closing = begin {
                    switch scope {
                    case .link: await sender.close(within: limit)
                    case .session: await session.close(within: limit)
                    default: await session.connection.close(within: limit)
                    }
                }
                if limit > .zero { await peer.advance(by: .milliseconds(100)) }
                let result = try await closing.value
                isOver.resolve(.success(()))
                var failed = Set<AMQPTracker>()
                for task in senders {
                    for tracker in await task.value {
                        guard case .failure? = tracker.result else { continue }
                        failed.insert(tracker)
                    }
                }
                let listed = Set(result.unfinished.flatMap(\.notSent).map(\.tracker))
                #expect(failed.subtracting(listed).isEmpty, "\(failed.subtracting(listed).count) of \(failed.count)")
            }
        }
    }

    /// An orderly close by this side is an error neither of the scopes in it nor of a later close.
    @Test func anOrderlyCloseFromOutsideIsNoErrorOfAScope() async throws {
        try await withPeer({ .keepingOutcomes }) { connection, peer in
            try await connection.withSession { session in
                try await session.withReceiver(from: "q") { receiver in
                    try await peer.run { _ = $0.send(payload(5), on: $0.links[0]) }
                    let delivery = try await receiver.next()
                    delivery?.accept()
                    _ = try await delivery?.settled()
                    let closed = await connection.close(within: .seconds(5))
                    #expect(closed.isComplete, "\(closed)")
                    let again = await receiver.close()
                    #expect(again.isComplete, "\(again)")
                }
            }
        }
    }

    @Test func aSettlementInDoubtNamesTheEndOfTheLink() async throws {
        try await withSession { session, peer in
            let error = await #expect(throws: AMQPError.self) {
                try await session.withReceiver(from: "q", closingWithin: .seconds(20)) { receiver in
                    for _ in 0..<3 { try await peer.run { _ = $0.send(payload(5), on: $0.links[0]) } }
                    for _ in 0..<3 { try await receiver.next()?.accept() }
                    try await peer.run { pn_link_close($0.links[0]) }
                    #expect(try await receiver.next() == nil)
                }
            }
            #expect(error?.condition == .closed && error?.origin == .peer, "\(error as Any)")
            #expect(error?.detail.contains("the peer closed the link") == true, "\(error as Any)")
        }
    }

    @Test func aCancelledBatchIsWithdrawn() async throws {
        try await withSession(Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            let messages = (0..<3).map { AMQPMessage(body: "\($0)") }
            let sending = begin { await sender.send(contentsOf: messages) }
            await peer.settle()
            try await peer.run { peer in
                peer.script.onMessage = { _, _ in .none }
                pn_link_flow(peer.links[0], 1)
            }
            sending.cancel()
            let results = try await sending.value
            let fates = results.map { result -> AMQPError.Fate? in
                if case .failure(let error) = result { error.fate } else { nil }
            }
            #expect(fates == [.inDoubt, .notSent, .notSent])
            if case .failure(let error) = results[0] { #expect(error.tracker != nil) }
            try await peer.run { pn_link_flow($0.links[0], 5) }
            #expect(try await peer.run { $0.received.count } == 1)
        }
    }

    @Test func messagesBehindAStreamReportTheStream() async throws {
        try await withSession(Self.withoutCredit) { session, _ in
            let sender = try await session.openSender(to: "q")
            let body = FedBody()
            let streaming = begin { try await sender.stream(body: body) }
            body.feed(payload(100))
            try await eventually("the stream is accepted") { session.outgoingBytes > 0 }
            let error = await expectError(.wouldBlock) { try sender.trySend(AMQPMessage(body: "x")) }
            #expect(error?.blockedBy == [.stream, .credit] && error?.detail.contains("streamed message") == true)
            streaming.cancel()
            _ = try? await streaming.value
        }
    }

    /// No byte waits for the socket, so the next message waits for credit.
    @Test func aBurstWithoutCreditNamesCredit() async throws {
        try await withSession(session: .init(sendLimit: .init(high: 300)), Self.withoutCredit) { session, peer in
            let sender = try await session.openSender(to: "q")
            try await peer.run { _ in
                let error = #expect(throws: AMQPError.self) {
                    while true { try sender.trySend(encoded: payload(50)) }
                }
                #expect(error?.blockedBy == [.sessionLimit, .credit])
            }
        }
    }

    @Test func aMessageWithoutTimeLeavesAtOnceOrExpires() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            for _ in 0..<20 {
                let outcome = try await sender.send(AMQPMessage(body: "x"), options: .init(expiresAfter: .zero))
                #expect(outcome == .accepted)
            }
            try await peer.run { pn_link_drain($0.links[0], 0) }
            let message = AMQPMessage(body: "y")
            await expectError(.expired) { try await sender.send(message, options: .init(expiresAfter: .zero)) }
        }
    }

    @Test func anErrorOfAPeerIsOneLine() {
        let error = AMQPError(condition: "x:y", detail: "first\nINFO second\u{2028}third", info: ["a\r": "b\n"])
        #expect(error.description.split(whereSeparator: \.isNewline).count == 1, "\(error)")
        #expect(error.detail.contains("\n"))
    }

    @Test func aPeerThatBeginsWithSASLRequiresALogin() {
        for split in 0..<8 {
            var check = HeaderCheck()
            let bytes: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 3, 1, 0, 0]
            let error =
                check.check(ByteBuffer(bytes: bytes[..<split])) ?? check.check(ByteBuffer(bytes: bytes[split...]))
            #expect(error?.ending == .refused && error?.detail.contains("configure a login") == true, "\(split)")
        }
    }
}
