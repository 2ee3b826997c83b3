// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// Random interleavings of attaches, detaches, flows, drains and transfers that cross on the wire. A flow that this
/// side writes itself must never change a link's limit.
@Suite(.deadline)
struct RenewalModelTests {
    @Test(arguments: UInt64(0)..<200)
    func aRenewalNeverMovesTheLimitOfALink(seed: UInt64) throws {
        var model = try RenewalModel(seed: seed)
        for step in 0..<400 {
            try model.step()
            if let failure = model.failure {
                Issue.record(
                    "seed \(seed), step \(step): \(failure)\n\(model.trace.suffix(40).joined(separator: "\n"))"
                )
                return
            }
        }
        #expect(model.named > 0 || model.renewals < 40, "seed \(seed): \(model.renewals) renewals name no link")
    }
}

/// One session between a frame observer, which receives frames as Proton writes them, and a peer that sends on links.
private struct RenewalModel {
    /// This side's receiver with one name.
    struct Own {
        var handle: UInt32
        var isAttached = false
        /// The delivery-count that Proton uses.
        var count: UInt32 = 0
        var credit: UInt32 = 0
        var isDraining = false
        var isAnswered = false
        /// Whether the receiver is detached without an answer, so that the name is not free.
        var isClosing = false
    }

    /// The peer's sender with one name.
    struct Peer {
        var handle: UInt32
        var isAttached = false
        var count: UInt32 = 0
        /// The limit according to the latest flow.
        var limit: UInt32?
        /// The handle of the link that this side has attached.
        var ownHandle: UInt32?
        var isDraining = false
        var isInMessage = false
    }

    var failure: String?
    var trace: [String] = []
    private(set) var renewals = 0
    private(set) var named = 0

    private var random: SeededGenerator
    private let observer = FrameObserver(maxFrameSize: 65_536, openLinks: 1_000)
    private let session: PeerSession
    private let names = (0..<4).map { "link\($0)" }
    private var own: [Own]
    private var peers: [Peer]
    private let status: [LinkStatus]
    /// Whether this side has seen the peer's link of each name as attached.
    private var seen: [Bool]
    /// Whether this side has answered the peer's link. Another link of that name waits for its detach.
    private var isPaired: [Bool]
    private var indices: [UInt32: Int] = [:]
    private var toPeer: [(frame: Frame, isRenewal: Bool)] = []
    private var toLibrary: [Frame] = []
    private var nextOwnHandle: UInt32 = 0
    private var nextPeerHandle: UInt32 = 10
    private var nextID: UInt32 = 0
    private var nextDelivery: UInt32 = 0
    private var now: Int64 = 0
    private let room: Room

    private final class Room { var free = 32 * 512 }

    init(seed: UInt64) throws {
        self.random = SeededGenerator(seed: seed)
        let count = self.names.count
        self.own = (0..<count).map { _ in Own(handle: 0) }
        self.peers = (0..<count).map { _ in Peer(handle: 0) }
        self.status = self.names.map { name in
            let place = SlotMap<Int>().nextKey
            return LinkStatus(name: name, key: LinkKey(session: place, link: place))
        }
        self.seen = Array(repeating: false, count: count)
        self.isPaired = self.seen
        let room = Room()
        self.room = room
        let begin = Frame(.begin, [.null, .uint(0), .uint(32), .uint(1_000)])
        let header = ByteBuffer(bytes: [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0])
        var input = header
        input.writeImmutableBuffer(try [Frame.open(), .begin(answering: 0)].encodedTogether())
        var output = header
        output.writeImmutableBuffer(try [Frame.open(), begin].encodedTogether())
        let observer = self.observer
        var sending: ByteBuffer? = output
        observer.sent(&sending)
        #expect(input.withUnsafeReadableBytes { observer.receivedAll($0) } == nil)
        self.session = try #require(observer.nextArrived())
        self.session.incoming = IncomingWindow(
            capacity: 32 * 512,
            frameSize: 512,
            outgoingWindow: 1_000
        )
        self.session.freeBytes = { room.free }
    }

    mutating func step() throws {
        let index = Int.random(in: self.names.indices, using: &self.random)
        switch Int.random(in: 0..<18, using: &self.random) {
        case 0: try self.attach(index)
        case 1: try self.detach(index)
        case 2, 3: try self.grant(index)
        case 4: try self.drain(index)
        case 5: self.peerAttaches(index)
        case 6: if Int.random(in: 0..<3, using: &self.random) == 0 { self.peerDetaches(index) }
        case 7...10: self.peerSends(index)
        case 11: self.peerAnswers(index)
        case 12, 13: try self.deliverToPeer(Int.random(in: 1...5, using: &self.random))
        case 14, 15: try self.deliverToLibrary(Int.random(in: 1...5, using: &self.random))
        case 16:
            self.now += Int64.random(in: 0...1_500_000_000, using: &self.random)
            self.room.free = 512 * Int.random(in: 0...48, using: &self.random)
            self.observer.lookAtIdleLinks()
            try self.renew()
        default:
            self.observer.renewals.look(at: self.session)
            try self.renew()
        }
    }

    // MARK: This side, with frames as Proton writes them

    private mutating func write(_ frame: Frame) throws {
        var bytes: ByteBuffer? = try frame.encoded()
        self.observer.sent(&bytes)
        self.trace.append("own: \(frame.code.map { "\($0)" } ?? "") \(frame.fields.prefix(9))")
        self.toPeer.append((frame, false))
    }

    private mutating func attach(_ index: Int) throws {
        guard !self.own[index].isAttached, !self.own[index].isClosing, !self.isPaired[index] else { return }
        self.own[index] = Own(handle: self.nextOwnHandle, isAttached: true)
        self.isPaired[index] = self.seen[index]
        self.nextOwnHandle += 1
        if self.seen[index], let count = self.lastSeenCount[index] { self.own[index].count = count }
        self.status[index].credit.store(0, ordering: .relaxed)
        try self.write(.attach(.string(self.names[index]), handle: self.own[index].handle, isReceiver: true))
        if self.seen[index] { self.session.flows.observe(self.status[index], isReceiver: true) }
    }

    /// The delivery-count with which the peer began each link whose attach was seen.
    private var lastSeenCount: [Int: UInt32] = [:]

    private mutating func detach(_ index: Int) throws {
        guard self.own[index].isAttached else { return }
        self.own[index].isAttached = false
        self.own[index].isClosing = true
        try self.write(.detach(self.own[index].handle))
    }

    private mutating func flow(_ index: Int) throws {
        let own = self.own[index]
        try self.write(
            .flow(
                nextIncomingID: self.session.nextIncomingID,
                handle: own.handle,
                deliveryCount: own.count,
                credit: own.credit,
                drain: own.isDraining
            )
        )
    }

    private mutating func grant(_ index: Int) throws {
        guard self.own[index].isAttached, self.own[index].credit < 20 else { return }
        let credit = UInt32.random(in: 1...5, using: &self.random)
        self.own[index].credit += credit
        self.own[index].isDraining = false
        self.status[index].credit.store(Int(self.own[index].credit), ordering: .relaxed)
        try self.flow(index)
    }

    private mutating func drain(_ index: Int) throws {
        guard self.own[index].isAttached, self.own[index].credit > 0 else { return }
        self.own[index].isDraining = true
        self.own[index].isAnswered = false
        try self.flow(index)
    }

    private mutating func renew() throws {
        var frames: [ByteBuffer] = []
        _ = self.observer.renewals.renew(at: self.now) { frames.append($0) }
        for frame in Frame.parse(frames.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }, header: false) {
            self.renewals += 1
            self.trace.append("renewal: \(frame.fields)")
            if case .uint(let handle) = frame.field(4) { self.check(frame, handle) }
            self.toPeer.append((frame, true))
        }
    }

    private mutating func check(_ frame: Frame, _ handle: UInt32) {
        self.named += 1
        guard let index = self.own.firstIndex(where: { $0.handle == handle && $0.isAttached }) else {
            self.failure = "a renewal names the handle \(handle), which is not attached"
            return
        }
        if !self.seen[index] { self.failure = "the peer has not attached \(index), or has detached it" }
        let own = self.own[index]
        guard case .uint(let count) = frame.field(5), case .uint(let credit) = frame.field(6) else { return }
        if count &+ credit != own.count &+ own.credit {
            self.failure = "the limit of \(index) is \(own.count &+ own.credit), but \(count) + \(credit) was sent"
        }
        if frame.field(8) == .bool(true), !own.isDraining || own.isAnswered {
            self.failure = "a drain of \(index) is requested again"
        }
        if frame.field(8) == .bool(false), own.isDraining, !own.isAnswered, own.credit > 0 {
            self.failure = "a drain of \(index) is withdrawn"
        }
    }

    // MARK: The peer

    private mutating func peerAttaches(_ index: Int) {
        guard !self.peers[index].isAttached, self.peers[index].ownHandle != nil || Bool.random(using: &self.random)
        else { return }
        let ownHandle = self.peers[index].ownHandle
        let limit = self.peers[index].limit
        self.peers[index] = Peer(handle: self.nextPeerHandle, isAttached: true)
        self.peers[index].ownHandle = ownHandle
        // A flow from before the peer's attach stays valid.
        self.peers[index].limit = limit
        self.indices[self.nextPeerHandle] = index
        self.nextPeerHandle += 1
        self.peers[index].count = Bool.random(using: &self.random) ? 0xFFFF_FFFB : 0
        var frame = Frame.attach(.string(self.names[index]), handle: self.peers[index].handle, isReceiver: false)
        frame.fields[9] = .uint(self.peers[index].count)
        self.trace.append("peer: attach \(index) from \(self.peers[index].count)")
        self.toLibrary.append(frame)
    }

    private mutating func peerDetaches(_ index: Int) {
        guard self.peers[index].isAttached else { return }
        self.peers[index].isAttached = false
        self.peers[index].isInMessage = false
        // Like RabbitMQ, the peer forgets the handle.
        self.peers[index].ownHandle = nil
        self.peers[index].limit = nil
        self.trace.append("peer: detach \(index)")
        self.toLibrary.append(.detach(self.peers[index].handle))
    }

    private mutating func peerSends(_ index: Int) {
        let peer = self.peers[index]
        guard peer.isAttached, peer.ownHandle != nil, let limit = peer.limit else { return }
        guard peer.isInMessage || Int32(bitPattern: limit &- peer.count) > 0 else { return }
        guard Int32(bitPattern: self.session.toldLimit &- self.nextID) > 0 else { return }
        let isLast = Bool.random(using: &self.random)
        let isAborted = peer.isInMessage && isLast && Bool.random(using: &self.random)
        if !peer.isInMessage { self.nextDelivery += 1 }
        self.peers[index].isInMessage = !isLast
        if isLast { self.peers[index].count &+= 1 }
        self.nextID &+= 1
        self.toLibrary.append(
            .transfer(handle: peer.handle, id: self.nextDelivery, tag: [1], more: !isLast, aborted: isAborted)
        )
    }

    /// Answers a drain: the peer returns the credit with a flow.
    private mutating func peerAnswers(_ index: Int) {
        let peer = self.peers[index]
        guard peer.isAttached, peer.isDraining, !peer.isInMessage, let limit = peer.limit, peer.ownHandle != nil else {
            return
        }
        self.peers[index].isDraining = false
        self.peers[index].count = limit
        self.trace.append("peer: \(index) is drained at \(limit)")
        self.toLibrary.append(.flow(handle: peer.handle, deliveryCount: limit, credit: 0, drain: true))
    }

    // MARK: The wire

    private mutating func deliverToPeer(_ most: Int) throws {
        for _ in 0..<min(most, self.toPeer.count) {
            let (frame, isRenewal) = self.toPeer.removeFirst()
            switch frame.code {
            case .attach:
                guard case .uint(let handle) = frame.field(1), case .string(let name) = frame.field(0),
                    let index = self.names.firstIndex(of: name)
                else { continue }
                self.peers[index].ownHandle = handle
                self.peers[index].limit = nil
            case .detach:
                guard case .uint(let handle) = frame.field(0),
                    let index = self.peers.firstIndex(where: { $0.ownHandle == handle })
                else { continue }
                // The answer to a detach is a detach, after an attach if that was missing.
                if !self.peers[index].isAttached { self.peerAttaches(index) }
                self.peerDetaches(index)
            case .flow:
                guard case .uint(let handle) = frame.field(4), case .uint(let count) = frame.field(5),
                    case .uint(let credit) = frame.field(6),
                    // A flow that crosses a detach of the peer finds no link.
                    let index = self.peers.firstIndex(where: { $0.ownHandle == handle })
                else { continue }
                if isRenewal, self.peers[index].limit != count &+ credit {
                    self.failure =
                        "a renewal moved the limit of \(index) from \(self.peers[index].limit as Any) to \(count &+ credit)"
                }
                self.peers[index].limit = count &+ credit
                self.peers[index].isDraining = frame.field(8) == .bool(true)
            default: break
            }
        }
    }

    private mutating func deliverToLibrary(_ most: Int) throws {
        let observer = self.observer
        for _ in 0..<min(most, self.toLibrary.count) {
            let frame = self.toLibrary.removeFirst()
            let bytes = try frame.encoded()
            if let violation = bytes.withUnsafeReadableBytes({ observer.receivedAll($0) }) {
                self.failure = "\(violation)"
            }
            switch frame.code {
            case .attach:
                guard case .string(let name) = frame.field(0), let index = self.names.firstIndex(of: name),
                    case .uint(let count) = frame.field(9)
                else { continue }
                self.seen[index] = true
                self.lastSeenCount[index] = count
                self.isPaired[index] = self.own[index].isAttached || self.own[index].isClosing
                if self.own[index].isAttached { self.own[index].count = count }
                self.session.flows.observe(self.status[index], isReceiver: true)
            case .detach:
                guard let index = self.indexOfPeer(frame.field(0)) else { continue }
                self.seen[index] = false
                self.isPaired[index] = false
                // Proton answers with the next output.
                try self.detach(index)
                self.own[index].isClosing = false
            case .transfer:
                guard let index = self.indexOfPeer(frame.field(0)), frame.field(5) == .bool(false),
                    self.own[index].isAttached, self.own[index].credit > 0
                else { continue }
                self.own[index].count &+= 1
                self.own[index].credit -= 1
                self.status[index].credit.store(Int(self.own[index].credit), ordering: .relaxed)
            case .flow:
                guard let index = self.indexOfPeer(frame.field(4)), case .uint(let count) = frame.field(5),
                    self.own[index].isAttached
                else { continue }
                let delta = count &- self.own[index].count
                if delta == self.own[index].credit { self.own[index].isAnswered = true }
                self.own[index].count = count
                self.own[index].credit &-= delta
                self.status[index].credit.store(Int(self.own[index].credit), ordering: .relaxed)
            default: break
            }
        }
    }

    /// Returns the index of the link with this handle, if it was seen.
    private func indexOfPeer(_ handle: AMQPValue) -> Int? {
        guard case .uint(let handle) = handle else { return nil }
        return self.indices[handle]
    }
}
