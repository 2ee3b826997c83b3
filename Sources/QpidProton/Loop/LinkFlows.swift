// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The state of one session's links in the flows of both sides.
///
/// A flow names a link by the handle of the side that sends the flow. The attaches of both sides match the two handles
/// by name and role, because Proton 0.37 exposes neither handle.
struct LinkFlows {
    /// The name of a link, and the role of the side that attached it.
    private struct Name: Hashable {
        private let compared: Bytewise<String>
        let isReceiver: Bool

        init(name: String, isReceiver: Bool) {
            self.compared = Bytewise(name)
            self.isReceiver = isReceiver
        }

        var name: String { self.compared.text }

        var ofOtherSide: Name { Name(name: self.name, isReceiver: !self.isReceiver) }
    }

    /// A link as the peer has attached it.
    private struct PeerLink {
        let name: Name
        var available: UInt32?
        var properties: AMQPMap = [:]
        var deliveryCount: UInt32 = 0
        /// The first delivery-count without credit.
        var limit: UInt32 = 0
        var linkCredit: UInt32 = 0
        /// The status of the link for tasks; `nil` until ``observe(_:isReceiver:)``.
        var status: LinkStatus?
        var isEchoDue = false
        /// Whether this side has detached. A later attach under the same name is another link.
        var isOver = false

        /// The peer's initial delivery-count; `nil` if it is unknown.
        let initialCount: UInt32?

        init(_ attach: FrameHeader.Attach) {
            self.name = Name(name: attach.name, isReceiver: attach.isReceiver)
            self.initialCount = attach.initialDeliveryCount
            self.deliveryCount = self.initialCount ?? 0
        }

        func publish(propertiesToo: Bool) {
            self.status?.available.store(self.available.map { Int($0) } ?? -1, ordering: .relaxed)
            self.status?.granted.store(self.linkCredit, ordering: .relaxed)
            if propertiesToo { self.status?.flowProperties.withLock { $0 = self.properties } }
        }
    }

    /// A link that this side has attached, with its last flow.
    private struct OwnLink {
        let handle: UInt32
        var deliveryCount: UInt32 = 0
        var linkCredit: UInt32 = 0
        var isDraining = false
        /// Whether the peer's initial count is unknown, and with it the meaning of the credit.
        var isUnknown = false
        /// Whether this side granted credit before it received the peer's count, so that the peer may count it
        /// differently from Proton.
        var isAmbiguous = false
        /// Whether the peer has detached. A later attach under the same name is another link.
        var isOver = false
        /// The first id after the session's window in the last flow of the link; `nil` before the first flow.
        var namedLimit: UInt32?
        /// The time at which a renewal last named the link without arrivals, in nanoseconds.
        var wakeTime: Int64?

        /// The first delivery-count without credit.
        var limit: UInt32 { self.deliveryCount &+ self.linkCredit }

        mutating func told(_ flow: FrameHeader.Flow, _ limit: UInt32, beforeAttach: Bool) {
            self.deliveryCount = flow.deliveryCount ?? 0
            self.linkCredit = flow.linkCredit ?? 0
            self.isDraining = flow.drain
            self.isUnknown = false
            self.isAmbiguous = beforeAttach
            self.namedLimit = limit
        }

        mutating func begin(_ count: UInt32?) {
            self.isAmbiguous = self.linkCredit > 0 && count != self.deliveryCount
            self.deliveryCount = count ?? 0
            self.isUnknown = count == nil
        }
    }

    private var peers: [UInt32: PeerLink] = [:]
    private var peerHandles: [Name: UInt32] = [:]
    private var own: [Name: OwnLink] = [:]
    private var ownNames: [UInt32: Name] = [:]

    /// The number of links that this side has attached.
    var ownCount: Int { self.ownNames.count }

    // MARK: The peer's frames

    mutating func peerSent(_ attach: FrameHeader.Attach) {
        let link = PeerLink(attach)
        self.peers[attach.handle] = link
        self.peerHandles[link.name] = attach.handle
        // Proton counts earlier credit from the count in this attach.
        if !attach.isReceiver, self.own[link.name.ofOtherSide]?.isOver == false {
            self.own[link.name.ofOtherSide]?.begin(link.initialCount)
        }
    }

    mutating func peerDetached(_ handle: UInt32) {
        guard let peer = self.peers.removeValue(forKey: handle), self.peerHandles[peer.name] == handle else { return }
        self.peerHandles[peer.name] = nil
        if !peer.isOver { self.own[peer.name.ofOtherSide]?.isOver = true }
    }

    mutating func peerSent(_ flow: FrameHeader.Flow) {
        guard let handle = flow.handle, var link = self.peers[handle] else { return }
        let properties = flow.properties ?? [:]
        let hasOtherProperties = properties != link.properties
        link.available = flow.available
        link.properties = properties
        link.deliveryCount = flow.deliveryCount ?? link.deliveryCount
        link.linkCredit = flow.linkCredit ?? 0
        link.limit = (flow.deliveryCount ?? 0) &+ link.linkCredit
        if flow.echo { link.isEchoDue = true }
        link.publish(propertiesToo: hasOtherProperties)
        self.peers[handle] = link
        // The answer to a drain moves the count to the limit.
        let name = link.name.ofOtherSide
        if let own = self.own[name], own.isDraining, !link.name.isReceiver, link.deliveryCount == own.limit {
            self.own[name]?.isDraining = false
        }
    }

    /// Publishes the peer's figures of a link to its tasks.
    ///
    /// - Parameter isReceiver: Whether this side receives on the link.
    mutating func observe(_ status: LinkStatus, isReceiver: Bool) {
        let name = Name(name: status.name, isReceiver: !isReceiver)
        guard let handle = self.peerHandles[name] else { return }
        self.peers[handle]?.status = status
        self.peers[handle]?.publish(propertiesToo: true)
    }

    // MARK: This side's frames

    mutating func sent(_ attach: FrameHeader.Attach) {
        let name = Name(name: attach.name, isReceiver: attach.isReceiver)
        var link = OwnLink(handle: attach.handle)
        if attach.isReceiver, let peer = self.peerHandles[name.ofOtherSide].flatMap({ self.peers[$0] }), !peer.isOver {
            link.begin(peer.initialCount)
        }
        self.own[name] = link
        self.ownNames[attach.handle] = name
    }

    mutating func detached(_ handle: UInt32) {
        guard let name = self.ownNames.removeValue(forKey: handle), self.own[name]?.handle == handle else { return }
        let isOver = self.own.removeValue(forKey: name)?.isOver ?? true
        if !isOver, let peer = self.peerHandles[name.ofOtherSide] { self.peers[peer]?.isOver = true }
    }

    /// Records a flow of this side.
    ///
    /// - Parameter limit: The first id after the session's window in the flow.
    mutating func sent(_ flow: FrameHeader.Flow, limit: UInt32) {
        guard let handle = flow.handle, let name = self.ownNames[handle] else { return }
        let peer = self.peerHandles[name.ofOtherSide].flatMap { self.peers[$0] }
        self.own[name]?.told(flow, limit, beforeAttach: peer?.isOver ?? true)
    }

    /// Records that a flow of the library itself names the link.
    mutating func named(_ handle: UInt32, limit: UInt32) {
        guard let name = self.ownNames[handle] else { return }
        self.own[name]?.namedLimit = limit
    }

    // MARK: Renewals

    /// The fields of one link in a renewal of the session's window.
    struct Renewal {
        var link: FlowFrame.Link
        /// The first id after the window in the last flow of the link; `nil` before the first flow.
        var namedLimit: UInt32?
    }

    /// Returns the fields of a renewal for the peer's link with a handle, without a change of its credit. Returns `nil`
    /// unless both sides have attached the link, neither has detached, and it has credit or an incomplete message.
    ///
    /// The sum of count and credit is the limit of the last flow. The count follows the messages as Proton's does: a
    /// message counts when it has ended.
    func renewal(of peerHandle: UInt32, isInMessage: Bool) -> Renewal? {
        guard let peer = self.peers[peerHandle], !peer.isOver, !peer.name.isReceiver,
            let own = self.own[peer.name.ofOtherSide], !own.isOver, !own.isUnknown, !own.isAmbiguous
        else { return nil }
        let limit = own.limit
        let mostSeen = [own.deliveryCount, peer.deliveryCount].map { Int(Int32(bitPattern: limit &- $0)) }.min() ?? 0
        let outstanding = peer.status.map { $0.credit.load(ordering: .relaxed) &+ (isInMessage ? 1 : 0) }
        let credit = UInt32(max(0, min(mostSeen, outstanding ?? mostSeen)))
        guard isInMessage || credit > 0 else { return nil }
        let link = FlowFrame.Link(
            handle: own.handle,
            deliveryCount: limit &- credit,
            linkCredit: credit,
            available: nil,
            isDraining: own.isDraining && credit > 0
        )
        return Renewal(link: link, namedLimit: own.namedLimit)
    }

    /// Returns the links with credit and without arrivals since their last flow for which `isWaiting` holds, and
    /// whether some are left out.
    ///
    /// The first renewal of a link is due at once, and each further renewal after `pause` nanoseconds. A peer whose
    /// detach is on its way may end the session when a flow names the link.
    mutating func idleRenewals(
        at now: Int64,
        pause: Int64,
        most: Int,
        isWaiting: (UInt32, Renewal) -> Bool
    ) -> (renewals: [Renewal], isLeft: Bool) {
        var renewals: [Renewal] = []
        var isLeft = false
        for (handle, peer) in self.peers {
            guard let renewal = self.renewal(of: handle, isInMessage: false), isWaiting(handle, renewal) else {
                continue
            }
            let name = peer.name.ofOtherSide
            guard renewals.count < most, self.own[name]?.wakeTime.map({ now - $0 >= pause }) ?? true else {
                isLeft = true
                continue
            }
            self.own[name]?.wakeTime = now
            renewals.append(renewal)
        }
        return (renewals, isLeft)
    }

    // MARK: Echoes

    /// Returns the state of the links for which the peer requested an echo.
    ///
    /// - Parameter sender: The state of this side's sender with a name.
    mutating func takeEchoes(_ sender: (String) -> FlowFrame.Sender?) -> [FlowFrame.Link] {
        var links: [FlowFrame.Link] = []
        for (handle, peer) in self.peers where peer.isEchoDue {
            self.peers[handle]?.isEchoDue = false
            guard !peer.isOver, let own = self.own[peer.name.ofOtherSide], !own.isOver else { continue }
            if peer.name.isReceiver {
                guard let sender = sender(peer.name.name) else { continue }
                // Proton does not expose its delivery-count, but the peer's limit minus the credit is the same number.
                links.append(
                    FlowFrame.Link(
                        handle: own.handle,
                        deliveryCount: peer.limit &- sender.credit,
                        linkCredit: sender.credit,
                        available: sender.available,
                        isDraining: sender.isDraining
                    )
                )
            } else if !own.isUnknown {
                // The echo repeats the last advertised limit, with neither more credit nor less.
                let credit = Int32(bitPattern: own.limit &- peer.deliveryCount)
                links.append(
                    FlowFrame.Link(
                        handle: own.handle,
                        deliveryCount: peer.deliveryCount,
                        linkCredit: UInt32(max(0, credit)),
                        available: nil,
                        isDraining: own.isDraining
                    )
                )
            }
        }
        return links
    }
}
