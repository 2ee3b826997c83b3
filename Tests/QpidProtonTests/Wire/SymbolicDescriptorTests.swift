// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Peers may use symbolic descriptors in place of numeric ones. Source: AMQP 1.0 §1.2.
@Suite(.deadline(minutes: 2))
struct SymbolicDescriptorTests {
    private static func named(_ name: String, _ fields: [AMQPValue] = []) -> AMQPValue {
        .described(AMQPDescribed(descriptor: .symbol(AMQPSymbol(name)), value: .list(fields)))
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let state: AMQPValue
        let outcome: AMQPOutcome

        init(_ name: String, _ fields: [AMQPValue] = [], _ outcome: AMQPOutcome) {
            self.testDescription = name
            self.state = SymbolicDescriptorTests.named("amqp:\(name):list", fields)
            self.outcome = outcome
        }
    }

    private static let error = Self.named(
        "amqp:error:list",
        [.symbol("amqp:not-allowed"), .string("no"), .map([.symbol("a"): .uint(1)])]
    )

    // Computed at each access, because LeakSanitizer does not see the maps of a constant behind their tagged
    // references.
    static var outcomes: [Case] {
        [
            Case("accepted", [], .accepted),
            Case("released", [], .released),
            Case(
                "rejected",
                [Self.error],
                .rejected(
                    AMQPError(
                        scope: .delivery,
                        condition: .notAllowed,
                        detail: "no",
                        info: [.symbol("a"): .uint(1)],
                        origin: .peer
                    )
                )
            ),
            Case("rejected", [], .rejected(nil)),
            Case(
                "modified",
                [true, true, .map([.symbol("x"): .int(7)])],
                .modified(
                    AMQPModified(
                        deliveryFailed: true,
                        undeliverableHere: true,
                        messageAnnotations: [.symbol("x"): .int(7)]
                    )
                )
            ),
            Case("received", [.uint(0), .ulong(1)], .settled),
        ]
    }

    @Test(arguments: bothRoles, Self.outcomes)
    func outcomesAreReadByTheirSymbols(role: ConnectionHandler.Role, test: Case) async throws {
        try await withSenders(role, 1) { senders, connection, adversary in
            let transfer = try senders[0].trySend(encoded: payload(10))
            await adversary.peer.settle()
            try await adversary.send(.disposition(0, state: test.state))
            #expect(try await transfer.outcome() == test.outcome)
            // The disposition covers a range, and its bytes arrive in small pieces.
            let more = try (0..<2).map { _ in try senders[0].trySend(encoded: payload(10)) }
            await adversary.peer.settle()
            var bytes = try Frame.disposition(1, 2, state: test.state).encoded()
            while let piece = bytes.readSlice(length: min(7, bytes.readableBytes)), piece.readableBytes > 0 {
                try await adversary.send(piece)
            }
            for transfer in more { #expect(try await transfer.outcome() == test.outcome) }
            #expect(connection.error == nil)
        }
    }

    /// An unknown state is not an outcome. A message that is settled with it is not reported as settled without an
    /// outcome.
    @Test(arguments: [
        Self.named("example:state:list", [.string("x")]), Self.named("s"), .described(0x7777, .list([])),
        .described(0x1_0000_0024, .list([])), Self.named("amqp:declared:list", [.binary(payload(1))]),
        Self.named("amqp:transactional-state:list", [.binary(payload(1)), Self.named("amqp:accepted:list")]),
    ])
    func unknownStatesAreAnError(state: AMQPValue) async throws {
        try await withSenders(.client, 1) { senders, connection, adversary in
            let transfer = try senders[0].trySend(encoded: payload(10))
            await adversary.peer.settle()
            // While the message is unsettled, an outcome may follow.
            try await adversary.send(.disposition(0, settled: false, state: state))
            await adversary.peer.settle()
            try await adversary.send(.disposition(0, state: state))
            let error = await expectError(.notImplemented) { try await transfer.outcome() }
            #expect(error?.fate == .inDoubt && error?.detail.contains("unknown delivery state") == true)
            #expect(connection.error == nil && senders[0].error == nil)
        }
    }

    /// Each performative of a dialogue has a symbolic descriptor.
    @Test func performativesAreReadByTheirSymbols() async throws {
        try await withAdversary(.server) { connection, adversary in
            func send(_ frame: Frame) async throws {
                var bytes = try frame.encoded()
                guard let code = frame.code, let head = bytes.readSlice(length: 8),
                    case .described(var described) = try AMQPValue(decoding: &bytes)
                else {
                    throw Unexpected(what: "no performative")
                }
                described.descriptor = .symbol(AMQPSymbol("amqp:\(code):list"))
                var body = ByteBuffer()
                try AMQPValue.described(described).encode(into: &body)
                body.writeBuffer(&bytes)
                var whole = head
                whole.setInteger(UInt32(8 + body.readableBytes), at: whole.readerIndex)
                whole.writeBuffer(&body)
                try await adversary.send(whole)
            }
            try await send(.begin())
            let source = Self.named("amqp:source:list", [.string("from")])
            let target = Self.named("amqp:target:list", [.string("to")])
            try await send(.attach("l", handle: 0, isReceiver: false, source: source, target: target))
            let receiver = try await connection.acceptReceiver()
            #expect(receiver.remoteSource.address == "from" && receiver.remoteTarget.address == "to")
            try await send(.flow(handle: 0, deliveryCount: 0, available: 5))
            #expect(receiver.available == 5)
            try await send(.transfer(handle: 0, id: 0, tag: [1], payload: try AMQPMessage(body: "m").encoded()))
            let delivery = try await receiver.nextInTime()
            #expect(try delivery.decodeMessage().bodyString == "m")
            // The message is larger than the part of a transfer that the scanner reads.
            let large = AMQPMessage(body: String(repeating: "x", count: 5_000))
            try await send(.transfer(handle: 0, id: 1, tag: [2], payload: try large.encoded()))
            #expect(try await receiver.nextInTime().decodeMessage() == large)
            try await send(Frame(.detach, [.uint(0), .bool(true), Self.error]))
            #expect(receiver.error?.condition == .notAllowed && receiver.error?.detail == "no")
            try await send(Frame(.end, [Self.error]))
            try await send(Frame(.close, [Self.error]))
            #expect(connection.error?.condition == .notAllowed && connection.error?.origin == .peer)
        }
    }

    /// Filters and dynamic-node properties keep their symbols.
    @Test func symbolsInOtherPlacesStay() async throws {
        try await withAdversary(.server) { connection, adversary in
            try await adversary.send(.begin())
            let filter: AMQPValue = .described(
                AMQPDescribed(descriptor: .symbol("amqp:accepted:list"), value: .string("a = 1"))
            )
            let source = Self.named(
                "amqp:source:list",
                [
                    .string("from"), .null, .null, .null, .null, .null, .null, .map([.symbol("f"): filter]), .null,
                    .array(try AMQPArray([.symbol("amqp:accepted:list"), .symbol("amqp:rejected:list")])),
                ]
            )
            try await adversary.send(.attach("l", handle: 0, isReceiver: true, source: source))
            let sender = try await connection.acceptSender()
            #expect(sender.remoteSource.filters == [AMQPFilter(name: "f", value: filter)])
        }
    }

    /// Proton would refuse a link whose coordinator has a symbolic descriptor.
    @Test(arguments: ["amqp:coordinator:list", "number"])
    func coordinatorsAreRecognised(name: String) async throws {
        let target = name == "number" ? AMQPValue.described(0x30, .list([])) : Self.named(name)
        try await withAdversary(.client) { connection, adversary in
            let session = try await adversary.session(connection)
            let opening = begin { try await session.openSender(to: "q") }
            await adversary.peer.settle()
            let attach = try #require(try await adversary.frames(.attach).last)
            try await adversary.send(.attach(attach.field(0), handle: 0, isReceiver: true, target: target))
            _ = try await opening.value
        }
    }
}
