// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// A renewal of the session's window names a link, so that a sender that waits for a flow of its own link resumes.
@Suite(.deadline)
struct NamedRenewalTests {
    private static func connection() -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.maxFrameSize = 512
        return configuration
    }

    /// Opens a session with a window of sixteen frames and one receiver per name. The test acts as the peer.
    private func withSleeper(
        _ count: Int,
        lag: Int = 0,
        product: String? = nil,
        _ body: (AMQPSession, [AMQPReceiver], Sleeper, InMemoryPeer) async throws -> Void
    ) async throws {
        let makeScript: @Sendable () -> PeerScript = {
            var script = PeerScript.answeredByHand
            if let product {
                script.beforeOpen = { peer in
                    let properties = pn_connection_properties(peer.connection)
                    #expect(throws: Never.self) {
                        try ProtonData.set(properties, map: [.symbol("product"): .string(product)])
                    }
                }
            }
            return script
        }
        try await withPeer(configuration: Self.connection(), makeScript) { connection, peer in
            let opening = begin { try await connection.openSession(.init(incomingCapacity: 8_192)) }
            await peer.settle()
            try await peer.run { try $0.inject(.begin(answering: 0)) }
            let session = try await opening.value
            let sleeper = Sleeper(lag: lag, resumesAtAnyFlow: product != nil)
            var receivers: [AMQPReceiver] = []
            for number in 0..<count {
                let attaching = begin { try await session.openReceiver(from: "q\(number)", window: .messages(4)) }
                await peer.settle()
                try await sleeper.attach(peer)
                receivers.append(try await attaching.value)
            }
            try await body(session, receivers, sleeper, peer)
        }
    }

    @Test(arguments: [0, 3, 9])
    func linksThatResumeOnlyAtAFlowThatNamesThemAllResume(lag: Int) async throws {
        try await withSleeper(2, lag: lag) { session, receivers, sleeper, peer in
            // Each message is several times larger than the window.
            for link in 0..<2 { for _ in 0..<3 { sleeper.offer(link, frames: 60) } }
            try await sleeper.run(peer)
            #expect(sleeper.isDone, "\(sleeper)")
            for receiver in receivers {
                for _ in 0..<3 {
                    let delivery = try #require(receiver.poll())
                    #expect(delivery.payload.readableBytes == 60 * 300)
                    delivery.accept()
                }
            }
            #expect(session.connection.error == nil)
        }
    }

    /// There are more links than one write names, and more than the window has frames.
    @Test(arguments: [0, 3, 9])
    func manyLinksAreNamedInTurn(lag: Int) async throws {
        try await withSleeper(40, lag: lag) { session, receivers, sleeper, peer in
            for link in 0..<40 { sleeper.offer(link, frames: 7) }
            try await sleeper.run(peer)
            // Sixteen links that have not begun are named per second.
            for _ in 0..<6 where !sleeper.isDone {
                await peer.advance(by: .milliseconds(1_100))
                try await sleeper.run(peer)
            }
            #expect(sleeper.isDone, "\(sleeper)")
            #expect(receivers.allSatisfy { $0.poll()?.payload.readableBytes == 2_100 })
        }
    }

    /// Messages of one frame are never partly sent when the window is renewed.
    @Test(arguments: [0, 3])
    func linksWithMessagesOfOneFrameResume(lag: Int) async throws {
        try await withSleeper(3, lag: lag) { session, receivers, sleeper, peer in
            for _ in 0..<40 {
                for link in 0..<3 { for _ in 0..<4 { sleeper.offer(link, frames: 1) } }
                try await sleeper.run(peer)
                #expect(sleeper.isDone, "\(sleeper)")
                for receiver in receivers { for _ in 0..<4 { try #require(receiver.poll()).accept() } }
                await peer.settle()
            }
        }
    }

    /// The window is already closed when the peer's first message is due, so no transfer shows that its link waits.
    @Test func aLinkThatHasNotBegunIsNamedToo() async throws {
        try await withSleeper(2, lag: 9) { session, receivers, sleeper, peer in
            for round in 0..<3 {
                sleeper.offer(0, frames: 60)
                try await sleeper.run(peer, until: { $0.isWindowClosed })
                sleeper.offer(1, frames: 2)
                sleeper.sleep(1)
                try await sleeper.run(peer)
                // Links that the first write omits are named within a second.
                if !sleeper.isDone {
                    await peer.advance(by: .milliseconds(1_100))
                    try await sleeper.run(peer)
                }
                #expect(sleeper.isDone, "\(round): \(sleeper)")
                for receiver in receivers { try #require(receiver.poll()).accept() }
                await peer.settle()
            }
        }
    }

    /// A link that is paused, detached or without credit has nothing to resume, and a flow that names it could cause
    /// harm.
    @Test func noFlowNamesALinkThatHasNothingToResume() async throws {
        try await withSleeper(3) { session, receivers, sleeper, peer in
            let pausing = begin { try await receivers[1].pause() }
            await peer.settle()
            try await sleeper.look(peer)
            try await peer.run { try $0.inject(.flow(nextIncomingID: 0, handle: 8, deliveryCount: 4, credit: 0)) }
            try await pausing.value
            // The peer has detached the third link, and this side has answered.
            try await peer.run { try $0.inject(.detach(9)) }
            await peer.settle()
            let before = try await peer.framesOfLibrary().count
            sleeper.offer(0, frames: 60)
            try await sleeper.run(peer)
            #expect(sleeper.isDone, "\(sleeper)")
            let flows = try await peer.framesOfLibrary()[before...].filter { $0.code == .flow }
            #expect(flows.count >= 6)
            #expect(flows.allSatisfy { $0.field(4) == .uint(0) || $0.fields.count == 4 })
        }
    }

    /// The peer's detach has arrived, but this side's has not left. A flow in the same write must not name the handle.
    @Test func aLinkThatThePeerHasJustDetachedIsNotNamed() async throws {
        try await withSleeper(2, lag: 9) { session, receivers, sleeper, peer in
            sleeper.offer(1, frames: 60)
            try await sleeper.run(peer, until: { $0.isWindowClosed })
            let before = try await peer.framesOfLibrary().count
            // The last transfers of the window and the detach arrive in one read.
            try await peer.run { peer in
                var bytes = ByteBuffer()
                bytes.writeImmutableBuffer(try sleeper.nextTransfers(1, 8).encodedTogether())
                bytes.writeImmutableBuffer(try Frame.detach(8).encoded())
                peer.inject(bytes)
            }
            let frames = try await peer.framesOfLibrary()[before...]
            #expect(frames.contains { $0.code == .detach })
            #expect(frames.allSatisfy { $0.code != .flow || $0.field(4) != .uint(1) })
            #expect(session.connection.error == nil)
        }
    }

    /// RabbitMQ ends a session whose flow names a link that it has just detached. It resumes links without being named.
    @Test func renewalsNameNoLinkAtRabbitMQ() async throws {
        try await withSleeper(2, product: "RabbitMQ") { session, receivers, sleeper, peer in
            let before = try await peer.framesOfLibrary().count
            for link in 0..<2 { for _ in 0..<3 { sleeper.offer(link, frames: 60) } }
            try await sleeper.run(peer)
            await peer.advance(by: .milliseconds(1_100))
            try await sleeper.run(peer)
            #expect(sleeper.isDone, "\(sleeper)")
            let flows = try await peer.framesOfLibrary()[before...].filter { $0.code == .flow }
            #expect(flows.count >= 20 && flows.allSatisfy { $0.fields.count == 4 })
            #expect(session.connection.error == nil)
        }
    }

    /// A message that is aborted in its middle does not change the limit.
    @Test func anAbortLeavesTheLimit() async throws {
        try await withSleeper(1) { session, receivers, sleeper, peer in
            for _ in 0..<6 {
                sleeper.offer(0, frames: 30, isAborted: true)
                try await sleeper.run(peer)
                #expect(sleeper.isDone, "\(sleeper)")
            }
            #expect(session.connection.error == nil && receivers[0].error == nil)
        }
    }
}

extension [Frame] {
    func encodedTogether() throws -> ByteBuffer {
        var bytes = ByteBuffer()
        for frame in self { bytes.writeImmutableBuffer(try frame.encoded()) }
        return bytes
    }
}

/// The senders of a peer. Each sender stops at the end of the window, and resumes only when a flow names its link.
// Sendable because the test uses it in one place at a time.
final class Sleeper: @unchecked Sendable, CustomStringConvertible {
    private struct Link {
        let handle: UInt32
        var isAwake = false
        /// The first delivery-count without credit, according to the latest flow.
        var limit: UInt32 = 0
        var deliveryCount: UInt32 = 0
        /// The number of frames of each waiting message, and whether it is aborted at its end.
        var messages: [(frames: Int, isAborted: Bool)] = []
        var isBegun = false
        var deliveryID: UInt32 = 0

        var canSend: Bool {
            !self.messages.isEmpty && (self.isBegun || Int32(bitPattern: self.limit &- self.deliveryCount) > 0)
        }
    }

    private var links: [Link] = []
    private var nextID: UInt32 = 0
    private var nextDeliveryID: UInt32 = 0
    private var windowLimit: UInt32 = 0
    /// The number of processed frames of the library, and the rounds by which the sender sees frames late.
    private var seen = 0
    private let lag: Int
    private var written: [Int] = []
    private var turn = 0

    /// Whether any flow wakes all links.
    private let resumesAtAnyFlow: Bool

    init(lag: Int, resumesAtAnyFlow: Bool = false) {
        self.lag = lag
        self.resumesAtAnyFlow = resumesAtAnyFlow
    }

    var isDone: Bool { self.links.allSatisfy { $0.messages.isEmpty } }
    var isWindowClosed: Bool { self.windowLimit == self.nextID }
    var description: String {
        "next id \(self.nextID), window to \(self.windowLimit), "
            + self.links.map { "\($0.isAwake) \($0.messages) \($0.deliveryCount)<\($0.limit)" }.joined(separator: "; ")
    }

    /// Answers the library's latest attach. The handles are 7, 8, 9 and so on.
    func attach(_ peer: InMemoryPeer) async throws {
        let attach = try #require(try await peer.framesOfLibrary().last { $0.code == .attach })
        let handle = UInt32(7 + self.links.count)
        self.links.append(Link(handle: handle))
        let name = attach.field(0)
        try await peer.run { try $0.inject(.attach(name, handle: handle, isReceiver: false)) }
    }

    func offer(_ link: Int, frames: Int, isAborted: Bool = false) {
        self.links[link].messages.append((frames, isAborted))
    }

    func sleep(_ link: Int) { self.links[link].isAwake = false }

    /// Processes the flows that have arrived, except those of the last rounds.
    func look(_ peer: InMemoryPeer) async throws {
        let frames = try await peer.framesOfLibrary()
        self.written.append(frames.count)
        let count = self.written.count > self.lag ? self.written[self.written.count - 1 - self.lag] : 0
        for frame in frames[self.seen..<max(self.seen, count)] {
            switch frame.code {
            case .begin:
                if case .uint(let window) = frame.field(2) { self.windowLimit = window }
            case .flow: self.take(frame)
            default: break
            }
        }
        self.seen = max(self.seen, count)
    }

    private func take(_ flow: Frame) {
        if case .uint(let next) = flow.field(0), case .uint(let window) = flow.field(1) {
            self.windowLimit = next &+ window
        }
        if self.resumesAtAnyFlow { for index in self.links.indices { self.links[index].isAwake = true } }
        guard case .uint(let handle) = flow.field(4), case .uint(let count) = flow.field(5),
            case .uint(let credit) = flow.field(6)
        else { return }
        // This side numbers its links from 0, in the peer's order.
        self.links[Int(handle)].limit = count &+ credit
        self.links[Int(handle)].isAwake = true
    }

    /// Sends frames while links are awake, and processes flows, until nothing moves.
    func run(_ peer: InMemoryPeer, until isOver: (Sleeper) -> Bool = { _ in false }) async throws {
        var quiet = 0
        while quiet <= self.lag + 2 {
            try await self.look(peer)
            let frames = self.sendRound()
            if !frames.isEmpty {
                let bytes = try frames.encodedTogether()
                try await peer.run { $0.inject(bytes) }
            }
            if isOver(self) { return }
            quiet = frames.isEmpty ? quiet + 1 : 0
        }
    }

    /// Returns a few frames of the awake links, in turn.
    private func sendRound() -> [Frame] {
        var frames: [Frame] = []
        for _ in 0..<4 {
            for _ in self.links.indices {
                self.turn = (self.turn + 1) % self.links.count
                guard self.links[self.turn].isAwake, self.links[self.turn].canSend else { continue }
                guard !self.isWindowClosed else {
                    // A link that finds the window closed waits for a flow of its own.
                    self.links[self.turn].isAwake = false
                    continue
                }
                frames.append(self.transfer(self.turn))
                break
            }
        }
        return frames
    }

    /// Returns frames that are sent regardless of the window.
    func nextTransfers(_ link: Int, _ count: Int) -> [Frame] { (0..<count).map { _ in self.transfer(link) } }

    private func transfer(_ index: Int) -> Frame {
        var link = self.links[index]
        defer { self.links[index] = link }
        let isFirst = !link.isBegun
        if isFirst {
            link.isBegun = true
            link.deliveryID = self.nextDeliveryID
            self.nextDeliveryID += 1
        }
        link.messages[0].frames -= 1
        let isLast = link.messages[0].frames == 0
        let isAborted = isLast && link.messages[0].isAborted
        if isLast {
            link.isBegun = false
            link.deliveryCount &+= 1
            link.messages.removeFirst()
        }
        self.nextID &+= 1
        return .transfer(
            handle: link.handle,
            id: isFirst || !isLast ? link.deliveryID : nil,
            tag: isFirst ? [UInt8(truncatingIfNeeded: link.deliveryID), UInt8(index)] : nil,
            more: !isLast,
            aborted: isAborted,
            payload: payload(isAborted ? 0 : 300)
        )
    }
}
