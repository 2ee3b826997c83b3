// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The peer's state of its sessions and links, and the answers to its echo requests.
@Suite(.deadline)
struct PeerStateTests {
    @Test func idsAndWindowsOfABrokerThatBeginsBeforeZero() async throws {
        try await withWrappingBroker(handle: 7, window: .messages(8)) { session, receiver, peer in
            let start = try await session.snapshot()
            #expect(start.nextIncomingID == 0xFFFF_FFFC && start.nextOutgoingID == 0)
            #expect(start.remoteIncomingWindow == 5_000 && start.remoteOutgoingWindow == 5_000)
            for round in 0..<6 {
                let id = UInt32(0xFFFF_FFFC) &+ UInt32(round)
                try await peer.run {
                    try $0.inject(.transfer(handle: 7, id: id, tag: [UInt8(round)], payload: payload(1)))
                }
                try #require(try await receiver.next()).accept()
            }
            #expect(try await session.snapshot().nextIncomingID == 2)
            #expect(try await session.snapshot().remoteOutgoingWindow == 4_994)
            try await peer.run {
                try $0.inject(Frame.flow(nextIncomingID: 0, window: 7, nextOutgoingID: 2, outgoingWindow: .max))
            }
            let told = try await session.snapshot()
            #expect(told.remoteIncomingWindow == 7 && told.remoteOutgoingWindow == Int(UInt32.max))
            // The peer reports transfers in flight that have not arrived.
            try await peer.run { try $0.inject(Frame.flow(nextOutgoingID: 5, outgoingWindow: 10)) }
            #expect(try await session.snapshot().remoteOutgoingWindow == 13)
        }
    }

    /// The broker computes the credit from the delivery-count in the flow. A count of 0 would grant five messages too
    /// many.
    @Test func creditIsGrantedFromTheCountThatTheBrokerBeginsWith() async throws {
        try await withWrappingBroker(handle: 7, window: .messages(8)) { _, _, peer in
            await peer.settle()
            let frames = try await peer.framesOfLibrary().filter { $0.code == .attach || $0.code == .flow }
            let flow = try #require(frames.last)
            #expect(frames.map(\.code) == [.attach, .flow])
            #expect(flow.field(5) == .uint(0xFFFF_FFFB) && flow.field(6) == .uint(8))
        }
    }

    /// The flow names the link by the handle of its sender: 7 from the broker, 0 from this side.
    @Test func aBrokerThatRequestsAnEchoOfAReceiver() async throws {
        try await withWrappingBroker(handle: 7, window: .messages(8)) { session, receiver, peer in
            for round in 0..<2 {
                let id = UInt32(0xFFFF_FFFC) &+ UInt32(round)
                try await peer.run {
                    try $0.inject(.transfer(handle: 7, id: id, tag: [UInt8(round)], payload: payload(1)))
                }
            }
            let before = try await peer.count(.flow)
            try await peer.run {
                let count: UInt32 = 0xFFFF_FFFD
                try $0.inject(
                    Frame.flow(nextOutgoingID: 0xFFFF_FFFE, handle: 7, deliveryCount: count, available: 40, echo: true)
                )
            }
            await peer.settle()
            #expect(receiver.available == 40)
            let flows = try await peer.framesOfLibrary().filter { $0.code == .flow }
            #expect(flows.count == before + 1)
            let answer = try #require(flows.last)
            // Two of the sixteen window frames have been used by small transfers, and two of the eight credits.
            guard case .uint(let window) = answer.field(1) else { throw Unexpected(what: "\(answer)") }
            #expect(window >= 14 && window <= 20)
            #expect(
                answer.fields.enumerated().filter { $0.offset != 1 }.map(\.element) == [
                    .uint(0xFFFF_FFFE), .uint(0), .uint(2_048), .uint(0), .uint(0xFFFF_FFFD), .uint(6), .null,
                    .bool(false),
                ]
            )
        }
    }

    /// Proton's counts stay correct: the window and the credit are still used up and renewed.
    @Test func echoesChangeNeitherWindowNorCredit() async throws {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 512
        try await withSession(configuration: configuration, session: .init(incomingCapacity: 8_192)) { session, peer in
            let receiver = try await session.openReceiver(from: "q", window: .messages(10))
            for round in 0..<100 {
                try await peer.run { peer in
                    let sent = UInt32(round)
                    let echo = Frame.flow(
                        nextOutgoingID: sent,
                        handle: round % 3 == 0 ? nil : 0,
                        deliveryCount: round % 3 == 0 ? nil : sent,
                        echo: true
                    )
                    try peer.inject(echo)
                    try peer.inject(echo)
                    peer.send(payload(round), on: peer.links[0])
                }
                let delivery = try #require(try await receiver.next())
                #expect(delivery.payload == payload(round))
                if round % 7 != 0 { delivery.accept() } else { delivery.release() }
            }
            await peer.settle()
            #expect(session.connection.error == nil && receiver.error == nil)
            #expect(try await peer.run { Int(pn_link_credit($0.links[0])) } == receiver.credit)
            let flows = try await peer.framesOfLibrary().filter { $0.code == .flow }
            #expect(flows.count > 200)
            for flow in flows {
                guard case .uint(let window) = flow.field(1) else { continue }
                // The capacity holds this many of the smallest transfers.
                #expect(window <= 8_192 / 64)
                if case .uint(let credit) = flow.field(6) { #expect(credit <= 10) }
            }
        }
    }

    @Test func aPeerThatRequestsAnEchoOfASender() async throws {
        try await withSession({ PeerScript(credit: nil, takesMessages: false) }) { session, peer in
            let sender = try await session.openSender(to: "q")
            // The flow grants five credits, and closes the session's window after three messages.
            try await peer.run { try $0.inject(.linkFlow(nextIncomingID: 0, window: 3, credit: 5)) }
            for size in 1...9 { try sender.trySend(encoded: payload(size)) }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 3)
            let state = try await session.snapshot()
            #expect(state.nextOutgoingID == 3 && state.remoteIncomingWindow == 0)
            try await peer.run {
                try $0.inject(Frame.flow(window: 2, handle: 0, deliveryCount: 0, credit: 5, echo: true))
            }
            await peer.settle()
            #expect(try await session.snapshot().remoteIncomingWindow == -1)
            let answer = try #require(try await peer.framesOfLibrary().last { $0.code == .flow })
            #expect(
                answer.fields[4...] == [.uint(0), .uint(3), .uint(2), .uint(6), .bool(false)]
            )
            #expect(answer.field(2) == .uint(3))
            try await peer.run { try $0.inject(.linkFlow(nextIncomingID: 3, window: 100, deliveryCount: 3, credit: 6)) }
            await peer.settle()
            #expect(try await peer.count(.transfer) == 9)
            #expect(session.connection.error == nil)
        }
    }

    @Test func availableAndPropertiesComeFromTheLinksLastFlow() async throws {
        try await withSession { session, peer in
            let first = try await session.openReceiver(from: "a")
            let second = try await session.openReceiver(from: "b")
            let sender = try await session.openSender(to: "c")
            let properties: AMQPMap = [.symbol("x-depth"): .uint(4), .symbol("x-list"): .list([.bool(true), "text"])]
            #expect(first.available == nil && first.flowProperties.isEmpty)
            try await peer.run { peer in
                try peer.inject(Frame.flow(handle: 1, deliveryCount: 0, available: 9, properties: properties))
                try peer.inject(Frame.flow(handle: 2, deliveryCount: 0, credit: 100, properties: ["x": 1]))
            }
            #expect(first.available == nil && first.flowProperties.isEmpty)
            #expect(second.available == 9 && second.flowProperties == properties)
            let links: [any AMQPLink] = [sender, second]
            #expect(links.map(\.flowProperties) == [["x": 1], properties])
            // A flow without a link changes nothing of a link.
            try await peer.run { try $0.inject(.sessionFlow(nextIncomingID: 0, window: 100)) }
            #expect(second.available == 9 && second.flowProperties == properties)
            let large: AMQPMap = ["x": .string(String(repeating: "y", count: 2_000))]
            try await peer.run {
                try $0.inject(Frame.flow(handle: 1, deliveryCount: 0, available: 0, properties: large))
            }
            #expect(second.available == 0 && second.flowProperties.isEmpty)
            #expect(sender.flowProperties == ["x": 1])
            try await peer.run { try $0.inject(Frame.flow(handle: 1, deliveryCount: 0)) }
            #expect(second.available == nil)
            #expect(session.connection.error == nil)
        }
    }

    /// A released handle belongs to the next link that is attached with it.
    @Test func aHandleThatIsUsedAgain() async throws {
        try await withSession { session, peer in
            let first = try await session.openReceiver(from: "a")
            try await peer.run { try $0.inject(Frame.flow(handle: 0, deliveryCount: 0, available: 1)) }
            try await first.close().check()
            let second = try await session.openReceiver(from: "a")
            #expect(second.available == nil)
            try await peer.run { try $0.inject(Frame.flow(handle: 0, deliveryCount: 0, available: 2, echo: true)) }
            #expect(first.available == 1 && second.available == 2)
            try await second.close().check()
            try await peer.run { try $0.inject(Frame.flow(echo: true)) }
            await peer.settle()
            #expect(session.connection.error == nil)
            #expect(try await peer.framesOfLibrary().last?.fields.count == 4)
        }
    }

    /// A peer that requests echoes endlessly and reads nothing is limited to the bytes that may wait for the socket.
    @Test func aPeerThatRequestsEchoesAndDoesNotRead() async throws {
        try await withSession { session, peer in
            let receiver = try await session.openReceiver(from: "q")
            defer { withExtendedLifetime(receiver) {} }
            let most = try await peer.run { peer in
                peer.toPeer.allowance = 0
                var most = 0
                for round in 0..<6_000 {
                    try peer.inject(Frame.flow(handle: round % 2 == 0 ? 0 : nil, deliveryCount: 0, echo: true))
                    most = max(most, peer.wire.flushedBytes)
                }
                return most
            }
            #expect(most > 100_000 && most < SocketWriter.budget + 1_000)
            try await peer.run { $0.toPeer.allowance = nil }
            await peer.settle()
            #expect(session.connection.error == nil)
        }
    }

    @Test func everyFieldOfAFlowIsRead() throws {
        let properties: AMQPMap = ["a": 1, "b": .list([.null])]
        var frame = Frame.flow(
            nextIncomingID: 1,
            window: 2,
            nextOutgoingID: 3,
            outgoingWindow: 4,
            handle: 5,
            deliveryCount: 6,
            credit: 7,
            available: 8,
            drain: true,
            echo: true,
            properties: properties
        )
        func read(_ frame: Frame, cut: Int = 0) throws -> FrameHeader.Flow {
            var bytes = try frame.encoded()
            bytes.moveWriterIndex(to: bytes.writerIndex - cut)
            let tapped = bytes.withUnsafeReadableBytes { FrameHeader($0) }
            guard case .flow(0, let flow)? = tapped else { throw Unexpected(what: "\(String(describing: tapped))") }
            return flow
        }
        var flow = try read(frame)
        #expect(flow.nextIncomingID == 1 && flow.incomingWindow == 2 && flow.nextOutgoingID == 3)
        #expect(flow.outgoingWindow == 4 && flow.handle == 5 && flow.deliveryCount == 6 && flow.linkCredit == 7)
        #expect(flow.available == 8 && flow.drain && flow.echo && flow.properties == properties)
        // The map extends beyond the visible part of the frame.
        flow = try read(frame, cut: 1)
        #expect(flow.properties == nil && flow.echo)
        frame.fields[6] = .string("no number")
        #expect(try read(frame).incomingWindow == 2)
        frame.fields = Array(frame.fields.prefix(4))
        flow = try read(frame)
        #expect(flow.handle == nil && flow.outgoingWindow == 4 && flow.properties == nil && !flow.echo)
    }
}
