// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The ways in which a connection is lost.
enum Loss: CaseIterable, Sendable, CustomTestStringConvertible {
    case closedWithError
    case closed
    case dropped

    static let reason = AMQPError(
        scope: .connection,
        condition: "example:reboot",
        detail: "back in an hour",
        info: [.symbol("hours"): 1]
    )

    var reaction: ScriptedPeer.Reaction {
        switch self {
        case .closedWithError: .close(Self.reason)
        case .closed: .close(nil)
        case .dropped: .drop
        }
    }

    var condition: AMQPCondition {
        switch self {
        case .closedWithError: Self.reason.condition
        case .closed: .closed
        case .dropped: .connectionLost
        }
    }

    var testDescription: String { "\(self.condition)" }

    /// Returns whether an error reports this loss.
    func isTold(by error: AMQPError?) -> Bool {
        guard let error, error.condition == self.condition else { return false }
        guard self == .closedWithError else { return true }
        return error.origin == .peer && error.detail.contains(Self.reason.detail)
    }
}

/// Peers that close, and sockets that are lost, while this side is busy.
@Suite(.timeLimit(.minutes(2)))
struct FailurePeerTests {
    @Test(arguments: Loss.allCases)
    func aLossWhileSendingKeepsTheReceivedOutcomes(_ loss: Loss) async throws {
        let react: ScriptedPeer.React = { kind, number in kind == .transfer && number == 500 ? loss.reaction : .answer }
        try await ScriptedPeer.with(react: react) { _, url in
            let connection = try await AMQPConnection.connect(to: url)
            let sender = try await connection.openSession().openSender(to: "queue")
            let results = try await within("the outcomes") {
                await sender.send(contentsOf: (0..<2_000).map { AMQPMessage(body: "message \($0)") })
            }
            let accepted = results.prefix { $0 == .success(.accepted) }
            // The peer has answered 499 messages at most. On a lost socket answers may be lost too.
            #expect(accepted.count <= 499 && results.count == 2_000)
            if loss != .dropped { #expect(accepted.count == 499) }
            for result in results.dropFirst(accepted.count) {
                guard case .failure(let error) = result else {
                    Issue.record("an outcome after the loss: \(result)")
                    break
                }
                #expect(loss.isTold(by: error), "\(error)")
                if case .failure = result, !loss.isTold(by: error) { break }
            }
            #expect(loss.isTold(by: try await failure(of: "send") { try await sender.send(AMQPMessage(body: "x")) }))
            #expect(loss.isTold(by: try await failure(of: "begin") { try await connection.openSession() }))
            #expect(throws: AMQPError.self) { try sender.trySend(AMQPMessage(body: "x")) }
            #expect(sender.error != nil && sender.session.error != nil && connection.error != nil)
            #expect(connection.outgoingBytes == 0)
        }
    }

    @Test(arguments: Loss.allCases)
    func everyWaitingCallThrowsTheLoss(_ loss: Loss) async throws {
        // The peer leaves these requests unanswered, so that the calls wait.
        let react: ScriptedPeer.React = { kind, number in
            switch kind {
            case .begin: number > 2 ? .ignore : .answer
            case .attach: number > 10 ? .ignore : .answer
            case .transfer, .detach, .end, .flow: .ignore
            default: .answer
            }
        }
        try await ScriptedPeer.with(react: react) { peer, url in
            var configuration = AMQPConnection.Configuration()
            configuration.acceptsIncoming = true
            let connection = try await AMQPConnection.connect(to: url, configuration: configuration)
            let calls = try await WaitingCalls(connection)
            try await waitUntil("the calls wait") {
                peer.count(.begin) == 3 && peer.count(.attach) == 12 && peer.count(.detach) == 2
                    && peer.count(.end) == 1 && peer.count(.transfer) == 2
            }
            peer.act(loss.reaction)
            for (name, task) in calls.tasks {
                let error = try await within("the end of \(name)") { await task.value }
                // Some calls wait for an orderly close. The links on the connection were not closed in order.
                if loss == .closed && calls.endInOrder.contains(name) {
                    #expect(error == nil, "\(name): \(String(describing: error))")
                } else {
                    #expect(loss.isTold(by: error), "\(name): \(String(describing: error))")
                }
            }
        }
    }

    @Test func linkAndSessionErrorsReachOnlyTheirOwnMessages() async throws {
        let reason = AMQPError(scope: .link, condition: .resourceDeleted, detail: "the queue is gone")
        for reaction in [ScriptedPeer.Reaction.detach(reason), .end(reason)] {
            let react: ScriptedPeer.React = { kind, number in kind == .transfer && number == 3 ? reaction : .answer }
            try await ScriptedPeer.with(react: react) { _, url in
                let connection = try await AMQPConnection.connect(to: url)
                let sender = try await connection.openSession().openSender(to: "queue")
                let error = try await failure(of: "sending") {
                    for _ in 0..<10 { try await sender.send(AMQPMessage(body: "x")) }
                }
                #expect(
                    error.condition == .resourceDeleted && error.origin == .peer && error.detail.contains(reason.detail)
                )
                let other = try await connection.openSession().openSender(to: "queue")
                #expect(connection.error == nil && other.error == nil)
                try await connection.close().check()
            }
        }
    }

    @Test func messagesBeforeADetachCanStillBeReceived() async throws {
        let listener = try await AMQPListener.bind(port: 0)
        var configuration = AMQPSender.Configuration(target: "queue")
        configuration.settleMode = .settled
        let settings = configuration
        let sending = Task {
            try await AMQPConnection.withConnection(to: "amqp://127.0.0.1:\(listener.port)") { connection in
                let sender = try await connection.openSession().openSender(settings)
                for index in 0..<100 { try await sender.send(AMQPMessage(body: "\(index)")) }
                try await sender.close().check()
            }
        }
        let connection = try #require(try await listener.makeAsyncIterator().next(isolation: nil))
        let wishes = connection.incoming.makeAsyncIterator()
        guard case .session(let session) = try await wishes.next(isolation: nil) else {
            throw NoFailure(what: "a session")
        }
        try await session.accept()
        guard case .receiver(let link) = try await wishes.next(isolation: nil) else { throw NoFailure(what: "a link") }
        let receiver = try await link.accept(.init(window: .messages(256)))
        // No task receives a message before all are sent and the sender has ended.
        try await within("the sender's end") { try await receiver.waitUntilClosed() }
        var bodies: [String?] = []
        while let delivery = try await receiver.next() { bodies.append(try delivery.decodeMessage().bodyString) }
        #expect(bodies == (0..<100).map { "\($0)" })
        try await sending.value
    }

    @Test(.timeLimit(.minutes(2)))
    func aCloseWhileManyTasksSendEndsEveryCall() async throws {
        try await TestListener.with { listener in
            for round in 0..<10 {
                let connection = try await AMQPConnection.connect(to: listener.url)
                let session = try await connection.openSession()
                let sender = try await session.openSender(to: "queue")
                let sent = Counter()
                try await within("round \(round)") {
                    await withTaskGroup(of: Void.self) { group in
                        for _ in 0..<4 {
                            group.addTask {
                                do throws(AMQPError) {
                                    while true {
                                        try await sender.enqueue(AMQPMessage(body: "x"))
                                        sent.add()
                                        // The task yields to the tasks of other tests.
                                        await Task.yield()
                                    }
                                } catch {
                                    #expect(error.condition == .closed, "\(error)")
                                }
                            }
                        }
                        try? await waitUntil("messages") { sent.value > 100 }
                        for index in 0..<12 {
                            group.addTask {
                                if index == 3 { _ = await sender.close() }
                                if index == 7 { _ = await session.close() }
                                await #expect(throws: Never.self) { try await connection.close().check() }
                            }
                        }
                    }
                }
                #expect(connection.error?.condition == .closed && connection.outgoingBytes == 0)
            }
        }
    }
}

/// A counter that several tasks increment.
private final class Counter: Sendable {
    private let number = Mutex(0)
    var value: Int { self.number.withLock { $0 } }
    func add() { self.number.withLock { $0 += 1 } }
}

/// One call of every kind that waits for the peer, each in a task of its own.
private struct WaitingCalls {
    private(set) var tasks: [(name: String, task: Task<AMQPError?, Never>)] = []
    /// The calls that an orderly close ends without an error.
    private(set) var endInOrder: Set<String> = []

    init(_ connection: AMQPConnection) async throws {
        let session = try await connection.openSession()
        let ending = try await connection.openSession()
        let sender = try await session.openSender(to: "queue")
        var tight = AMQPSender.Configuration(target: "no-credit")
        tight.sendLimit = AMQPSendLimit(high: 10)
        let blocked = try await session.openSender(tight)
        let unsent = try await blocked.enqueue(AMQPMessage(body: "takes all the room"))
        let detaching = try await session.openSender(to: "queue")
        var receivers: [AMQPReceiver] = []
        for index in 0..<7 { receivers.append(try await session.openReceiver(from: "queue \(index)")) }
        let limit = sender.deliveryLimit

        self.start("send") { try await sender.send(AMQPMessage(body: "x")) }
        self.start("outcome") { try await sender.enqueue(AMQPMessage(body: "x")).outcome() }
        self.start("outcome of an unsent message") { try await unsent.outcome() }
        self.start("enqueue without room") { try await blocked.enqueue(AMQPMessage(body: "x")) }
        self.start("send without room") { try await blocked.send(AMQPMessage(body: "x")) }
        self.start("deliveryLimit") { [blocked] in _ = try await blocked.deliveryLimit(after: 0) }
        self.start("deliveryLimit after sending") {
            var known = limit
            while true { known = try await sender.deliveryLimit(after: known) }
        }
        let shared = receivers[0]
        for index in 1...3 { self.start("next \(index)") { try await shared.next() } }
        self.start("nextBatch") { [receiver = receivers[1]] in try await receiver.nextBatch(max: 10) }
        self.start("receive") { [receiver = receivers[2]] in
            try await receiver.receive(timeout: .seconds(60))
        }
        self.start("receive with drain") { [receiver = receivers[3]] in
            try await receiver.receive(timeout: .zero)
        }
        self.start("iteration") { [receiver = receivers[4]] in for try await _ in receiver {} }
        self.start("batches") { [receiver = receivers[5]] in
            for try await _ in receiver.batches(max: 10) {}
        }
        self.start("incoming", inOrder: true) { for try await _ in connection.incoming {} }
        self.start("connection.waitUntilClosed", inOrder: true) { try await connection.waitUntilClosed() }
        self.start("session.waitUntilClosed") { try await session.waitUntilClosed() }
        self.start("sender.waitUntilClosed") { try await sender.waitUntilClosed() }
        self.start("receiver.waitUntilClosed") { try await shared.waitUntilClosed() }
        self.start("openSession") { try await connection.openSession() }
        self.start("openSender") { try await session.openSender(to: "queue") }
        self.start("openReceiver") { try await session.openReceiver(from: "queue") }
        self.start("sender.detach") { try await detaching.detach().check() }
        self.start("receiver.close") { [receiver = receivers[6]] in try await receiver.close().check() }
        self.start("session.close") { try await ending.close().check() }
    }

    private mutating func start<Success: Sendable>(
        _ name: String,
        inOrder: Bool = false,
        _ call: @escaping @Sendable () async throws -> Success
    ) {
        if inOrder { self.endInOrder.insert(name) }
        let task = Task { () -> AMQPError? in
            do {
                _ = try await call()
                return nil
            } catch {
                return error as? AMQPError ?? AMQPError(condition: .internalError, detail: "another error: \(error)")
            }
        }
        self.tasks.append((name, task))
    }
}
