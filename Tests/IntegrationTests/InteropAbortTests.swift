// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import TestSupport
import Testing

/// Messages that their sender aborts partway, with Proton's own programs on the other side.
@Suite(.serialized, .timeLimit(.minutes(4)))
struct InteropAbortTests {
    // MARK: Proton's sender aborts

    /// The frames carry an aborted message in one piece or in many. With surplus credit or a closed window, the program
    /// may abandon a message before its first byte leaves. The peer then receives nothing of that message.
    @Test(arguments: [131_072, 1_024], [AMQPReceiver.Window.messages(1), .onDemand])
    func messagesAbortedByTheCProgramLeaveNothing(frameSize: Int, window: AMQPReceiver.Window) async throws {
        let (aborts, whole) = (60, 40)
        // All messages together have 4.7 MB.
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        var configuration = AMQPListener.Configuration()
        configuration.connection.maxFrameSize = AMQPByteCount(frameSize)
        configuration.connection.receiveBudget = budget
        try await TestListener.with(configuration, window: window) { listener in
            let port = listener.listener.port
            let aborting = try ProtonExample.sendAbort.start(port: port, address: "aborted", count: aborts)
            try await waitUntil("some of it has come") { budget.peak > 0 || !aborting.isRunning }
            // Another link sends within the same budget.
            let sending = try ProtonExample.send.start(port: port, address: "whole", count: whole)
            try await aborting.waitForSuccess()
            try await sending.waitForSuccess()
            #expect(aborting.lines == ["\(aborts) messages started and aborted"])
            #expect(sending.lines == ["\(whole) messages sent and acknowledged"])
            // Only the frames of the program show that the messages began, and in how many pieces.
            let sent = ProtonTrace.sent(by: aborting)
            #expect(sent.aborts == aborts)
            #expect(sent.transfers >= (frameSize == 1_024 ? 70 : 2) * aborts)
            let numbers = try listener.deliveries.map { try $0.decodeMessage().body.sequence }
            #expect(numbers == (1...whole).map { $0 })
            try await waitUntil("both connections end") { listener.ends.count == 2 }
            #expect(listener.ends == [nil, nil])
            #expect(budget.used == 0)
            #expect(budget.peak > 0 && listener.receivers.count == 2)
            #expect(listener.receivers.allSatisfy { $0.bufferedBytes == 0 && $0.bufferedMessages == 0 })
        }
    }

    /// Before each message, the same link sends its first half and aborts it.
    @Test(arguments: [1_048_576, 512], [AMQPReceiver.Window.messages(1), .onDemand, .automatic])
    func betweenWholeMessagesOfOneLink(frameSize: Int, window: AMQPReceiver.Window) async throws {
        let lines = try CanonicalText.catalogue("catalogue") + CanonicalText.catalogue("catalogue-extended")
        let budget = AMQPMemoryBudget(limit: .mebibytes(1))
        var configuration = AMQPListener.Configuration()
        configuration.connection.maxFrameSize = AMQPByteCount(frameSize)
        configuration.connection.receiveBudget = budget
        try await TestListener.with(configuration, window: window) { listener in
            let peer = try ForeignPeer.python.start(
                ["send", listener.url, "queue", "--abort"],
                messages: lines,
                environment: ProtonTrace.environment
            )
            try await peer.waitForSuccess()
            #expect(ProtonTrace.sent(by: peer).aborts == lines.count)
            let counts = #""messages": \#(lines.count), "aborted": \#(lines.count), "accepted": \#(lines.count)"#
            #expect(peer.errors.contains(counts))
            #expect(try listener.deliveries.map { CanonicalText.of(try $0.decodeMessage()) } == lines)
            try await waitUntil("the end") { listener.ends.count == 1 }
            #expect(budget.used == 0 && budget.peak > 0)
        }
    }

    // MARK: The library's sender aborts

    /// The C program prints aborted messages, and the complete contents of the others.
    @Test(arguments: [1_048_576, 4_096], [false, true])
    func weAbortToTheCProgram(frameSize: Int, settled: Bool) async throws {
        let (aborts, whole) = (20, 21)
        var configuration = AMQPListener.Configuration()
        configuration.connection.maxFrameSize = AMQPByteCount(frameSize)
        let listener = try await AMQPListener.bind(host: "127.0.0.1", port: 0, configuration: configuration)
        let served = Task {
            let connections = listener.makeAsyncIterator()
            guard let connection = try await connections.next(isolation: nil) else { return }
            try await Self.serve(connection, whole: whole, settled: settled)
        }
        let receiving = try ProtonExample.receive.start(port: listener.port, address: "queue", count: whole)
        try await receiving.waitForSuccess()
        try await served.value
        await listener.close()
        var expected: [String] = []
        for number in 0..<whole {
            if number > 0 { expected.append("Message aborted") }
            expected.append(number % 5 == 0 ? "b\"\(AbortedBody.text)\"" : "\"whole \(number)\"")
        }
        #expect(receiving.lines == expected + ["\(whole) messages received"])
        #expect(receiving.aborted == aborts)
    }

    /// Sends complete messages to each receiver, every fifth as a stream, and an aborted message between each two.
    private static func serve(_ connection: AMQPConnection, whole: Int, settled: Bool) async throws {
        for try await wish in connection.incoming {
            switch wish {
            case .session(let session): try await session.accept()
            case .receiver(let link):
                link.refuse(AMQPError(scope: .link, condition: .notAllowed, detail: "receivers only"))
            case .sender(let link):
                var sending = AMQPSender.Configuration()
                sending.settleMode = settled ? .mixed : .unsettled
                let sender = try await link.accept(sending)
                for number in 0..<whole {
                    if number > 0 { try await Self.abort(on: sender, byCancelling: number % 2 == 0, settled: settled) }
                    try await Self.send(number, on: sender)
                }
                #expect(sender.outgoingBytes == 0)
            }
        }
    }

    /// The C broker stores nothing of an aborted message, continues, and delivers exactly the others.
    @Test(arguments: [ForeignPeer.cpp, .python])
    func weAbortThroughTheCBroker(_ receiver: ForeignPeer) async throws {
        let (aborts, lines) = (30, try CanonicalText.catalogue("catalogue").filter { $0.utf8.count < 2_000 })
        try await ProtonExample.broker.withBroker { broker, port in
            let url = "amqp://127.0.0.1:\(port)"
            let receiving = try receiver.start(["receive", url, "queue", "--count", "\(lines.count)"])
            let connection = try await AMQPConnection.connect(to: url)
            let sender = try await connection.openSession().openSender(to: "queue")
            for (number, line) in lines.enumerated() {
                if number < aborts { try await Self.abort(on: sender, byCancelling: number % 2 == 0) }
                #expect(try await sender.send(CanonicalText.message(line)) == .accepted)
            }
            #expect(lines.count > aborts && sender.outgoingBytes == 0)
            try await receiving.waitForSuccess()
            #expect(receiving.lines == lines)
            try await waitUntil("the broker has told all", within: .seconds(10)) { broker.aborted >= aborts }
            #expect(broker.aborted == aborts && broker.isRunning)
            try await connection.close().check()
        }
    }

    /// Proton's C++ library throws "receiver read failure" at any aborted message, and its broker then ends. Other
    /// peers lose their connections.
    @Test func theCppBrokerEndsAtAnAbort() async throws {
        let words = "broker shutdown: exception: receiver read failure"
        try await ProtonExample.cppBroker.withBroker { broker, port in
            let aborting = try ProtonExample.sendAbort.start(port: port, address: "queue", count: 1)
            try await waitUntil("it gives up") { broker.output.contains(words) }
            #expect(ProtonTrace.sent(by: aborting).aborts == 1)
        }
        try await ProtonExample.cppBroker.withBroker { broker, port in
            let connection = try await AMQPConnection.connect(to: "amqp://127.0.0.1:\(port)")
            let sender = try await connection.openSession().openSender(to: "queue")
            #expect(try await sender.send(AMQPMessage(body: "whole")) == .accepted)
            try await Self.abort(on: sender, byCancelling: false)
            try await waitUntil("it gives up") { broker.output.contains(words) }
            // One of the broker's threads may not notice the end.
            broker.kill()
            let error = try await failure(of: "the link") { try await sender.waitUntilClosed() }
            #expect(error.condition == .connectionLost, "\(error)")
        }
    }

    private static func send(_ number: Int, on sender: AMQPSender) async throws {
        if number % 5 == 0 {
            let body = AsyncStream { pieces in
                pieces.yield(AbortedBody.bytes)
                pieces.finish()
            }
            let length = AMQPByteCount(AbortedBody.bytes.readableBytes)
            #expect(try await sender.stream(length: length, body: body) == .accepted)
        } else {
            #expect(try await sender.send(AMQPMessage(body: "whole \(number)")) == .accepted)
        }
    }

    /// Begins a message, and aborts it once all its available bytes are written to the socket.
    private static func abort(on sender: AMQPSender, byCancelling: Bool, settled: Bool = false) async throws {
        let (begun, isBegun) = AsyncStream<Void>.makeStream()
        let task = Task {
            defer { isBegun.finish() }
            return try await sender.stream(
                settled: settled,
                body: AbortedBody(sender: sender, ends: !byCancelling, begun: isBegun)
            )
        }
        for await _ in begun {}
        if byCancelling { task.cancel() }
        let result = try await within("the end of the message") { await task.result }
        switch result {
        case .success(let outcome): Issue.record("\(outcome) of a message that was aborted")
        case .failure(let error as AMQPError): #expect(byCancelling && error.condition == .cancelled, "\(error)")
        case .failure(let error): #expect(!byCancelling && error is AbortedBody.GivenUp, "\(error)")
        }
    }
}

/// A body that is written to the socket and then fails, or has no end.
private struct AbortedBody: AsyncSequence, AsyncIteratorProtocol {
    struct GivenUp: Error {}

    static let text = String(repeating: "ab", count: 50_000)
    static let bytes = ByteBuffer(string: Self.text)
    let sender: AMQPSender
    let ends: Bool
    let begun: AsyncStream<Void>.Continuation
    private var isWritten = false

    init(sender: AMQPSender, ends: Bool, begun: AsyncStream<Void>.Continuation) {
        self.sender = sender
        self.ends = ends
        self.begun = begun
    }

    func makeAsyncIterator() -> AbortedBody { self }

    mutating func next() async throws -> ByteBuffer? {
        if !self.isWritten {
            self.isWritten = true
            return Self.bytes
        }
        try await waitUntil("it is written") { self.sender.outgoingBytes == 0 }
        self.begun.finish()
        if self.ends { throw GivenUp() }
        try await Task.sleep(for: .seconds(600))
        return nil
    }
}

extension AMQPMessage.Body {
    /// The number in the map that Proton's send.c writes as the body.
    fileprivate var sequence: Int? {
        guard case .value(.map(let map)) = self else { return nil }
        return map["sequence"]?.intValue
    }
}

extension ChildProcess {
    /// The number of aborted messages that Proton's examples have reported.
    fileprivate var aborted: Int { self.lines.count { $0 == "Message aborted" } }
}
