// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The links that the peer has attached in one session, and the frames on them that would break Proton.
@Suite struct PeerLinksTests {
    private func attach(_ handle: UInt32, isReceiver: Bool = false, name: String = "l") -> FrameHeader.Attach {
        FrameHeader.Attach(name: name, handle: handle, isReceiver: isReceiver)
    }

    private func transfer(
        _ handle: UInt32,
        id: UInt32? = 0,
        more: Bool = false,
        aborted: Bool = false
    ) -> FrameHeader.Transfer? {
        let frame = Frame.transfer(handle: handle, id: id, more: more, aborted: aborted)
        guard let bytes = try? frame.encoded() else { return nil }
        return bytes.withUnsafeReadableBytes { FrameHeader.transfer($0)?.1 }
    }

    private func links(_ handles: UInt32...) -> PeerLinks {
        var links = PeerLinks()
        for handle in handles { _ = links.attach(self.attach(handle)) }
        return links
    }

    private func move(_ links: inout PeerLinks, _ transfer: FrameHeader.Transfer?, nextID: UInt32 = 1) throws
        -> AMQPError?
    {
        links.transfer(try #require(transfer), nextID: nextID)
    }

    @Test func aHandleIsFreeOrRefused() {
        var links = PeerLinks()
        let attached = [self.attach(3), self.attach(UInt32(Int32.max))].map { links.attach($0)?.condition }
        #expect(attached == [nil, nil] && links.count == 2)
        let refused = [
            self.attach(3), self.attach(UInt32(Int32.max) + 1), self.attach(9, name: "a\0b"),
        ].map { links.attach($0)?.condition }
        #expect(refused == [.sessionHandleInUse, .invalidField, .invalidField])
        let detached = [links.detach(3), links.detach(3)]
        #expect(detached == [true, false] && links.count == 1)
    }

    @Test func aTransferOnALinkOnWhichThePeerReceivesIsRefused() throws {
        var links = PeerLinks()
        _ = links.attach(self.attach(1, isReceiver: true))
        let error = try self.move(&links, self.transfer(1))
        #expect(error?.condition == .notAllowed)
        // Proton itself refuses a transfer on an unattached link.
        let unknown = try self.move(&links, self.transfer(2))
        #expect(unknown == nil && links.active.isEmpty)
    }

    @Test func aMessageOfSeveralTransfersBeginsWithAnID() throws {
        var links = self.links(1)
        let refused = try self.move(&links, self.transfer(1, id: nil, more: true))
        #expect(refused?.condition == .invalidField && !links.isInMessage(1))
        let begun = try self.move(&links, self.transfer(1, id: 0, more: true))
        #expect(begun == nil && links.isInMessage(1))
        let further = try self.move(&links, self.transfer(1, id: nil, more: true))
        #expect(further == nil && links.isInMessage(1))
        let last = try self.move(&links, self.transfer(1, id: nil))
        #expect(last == nil && !links.isInMessage(1))
    }

    @Test func anAbortEndsAMessage() throws {
        var links = self.links(1)
        _ = try self.move(&links, self.transfer(1, more: true))
        _ = try self.move(&links, self.transfer(1, more: true, aborted: true))
        #expect(!links.isInMessage(1))
    }

    @Test func activeLinksKeepTheOrderOfTheirActivation() throws {
        var links = self.links(1, 2, 3)
        for (handle, id) in [(2, 5), (1, 6), (2, 7)] as [(UInt32, UInt32)] {
            _ = try self.move(&links, self.transfer(handle), nextID: id)
        }
        #expect(links.active == [2, 1] && links.wakeID == 6 && links.isActive(1) && !links.isActive(3))
        #expect(links.nextActive == 2)
        // A link in the middle of a message is first.
        _ = try self.move(&links, self.transfer(1, more: true))
        #expect(links.nextActive == 1)
        _ = links.detach(2)
        #expect(links.active == [1])
    }

    @Test func aNamedLinkMovesToTheBackAndLeavesInTheEnd() throws {
        var links = self.links(1, 2)
        for handle: UInt32 in [1, 2] { _ = try self.move(&links, self.transfer(handle)) }
        links.visitActive { handle, _ in handle == 1 ? .named : .kept }
        #expect(links.active == [2, 1] && links.nextActive == 2)
        for _ in 0..<2 { links.visitActive { handle, _ in handle == 1 ? .named : .kept } }
        #expect(links.active == [2] && !links.isActive(1))
        links.visitActive { _, _ in .left }
        #expect(links.active == [] && links.nextActive == nil)
        // A transfer makes the link active again.
        _ = try self.move(&links, self.transfer(1))
        #expect(links.active == [1])
    }
}
