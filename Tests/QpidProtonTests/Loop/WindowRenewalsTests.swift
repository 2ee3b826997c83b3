// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The sessions that must send the peer a flow, because Proton sends none.
@Suite struct WindowRenewalsTests {
    /// Returns a session whose peer has used `used` transfers of a window of 16. There is room for a full window again.
    private func session(channel: UInt16, used: UInt32) -> PeerSession {
        let session = PeerSession(RemoteWindow(initialOutgoingID: 50, incomingWindow: 100), nextIncomingID: 0)
        session.localChannel = channel
        session.incoming = IncomingWindow(capacity: 16_384, frameSize: 1_024, outgoingWindow: 7)
        session.toldLimit = 16
        session.nextIncomingID = used
        session.freeBytes = { 16_384 }
        return session
    }

    private func renew(_ renewals: inout WindowRenewals) throws -> (flows: [Frame], isMore: Bool) {
        var bytes = ByteBuffer()
        let isMore = renewals.renew(at: 0) { bytes.writeImmutableBuffer($0) }
        return (Frame.parse(bytes, header: false), isMore)
    }

    @Test func nothingIsDueAtFirst() throws {
        var renewals = WindowRenewals()
        #expect(!renewals.areDue)
        let (flows, isMore) = try self.renew(&renewals)
        #expect(flows.isEmpty && !isMore)
    }

    @Test func aSessionIsRenewedOnceHoweverOftenItIsVisited() throws {
        var renewals = WindowRenewals()
        let sessions = [self.session(channel: 3, used: 8), self.session(channel: 4, used: 9)]
        for session in sessions + sessions { renewals.look(at: session) }
        #expect(renewals.areDue)
        let (flows, isMore) = try self.renew(&renewals)
        #expect(!isMore && flows.map(\.channel) == [3, 4])
        // The window is full again, counted from the received transfers.
        #expect(flows.map { $0.field(0) } == [.uint(8), .uint(9)])
        #expect(flows.map { $0.field(1) } == [.uint(16), .uint(16)])
        #expect(flows.allSatisfy { $0.field(2) == .uint(50) && $0.field(3) == .uint(7) && $0.field(4) == .null })
        #expect(!renewals.areDue && sessions[0].toldLimit == 24)
        #expect(try self.renew(&renewals).flows.isEmpty)
    }

    @Test func aWindowThatIsHardlyUsedIsNoReasonForAFlow() throws {
        var renewals = WindowRenewals()
        let session = self.session(channel: 3, used: 3)
        renewals.look(at: session)
        #expect(try self.renew(&renewals).flows.isEmpty && !session.isDue)
        session.nextIncomingID = 4
        renewals.look(at: session)
        #expect(try self.renew(&renewals).flows.count == 1)
    }

    @Test func anEchoIsAnsweredOnceWithTheWindow() {
        var renewals = WindowRenewals()
        let session = self.session(channel: 5, used: 1)
        for _ in 0..<3 { renewals.echo(session) }
        #expect(renewals.areDue)
        var frames: [ByteBuffer] = []
        for _ in 0..<2 { renewals.answerEchoes { frames.append($0) } }
        let flows = frames.flatMap { Frame.parse($0, header: false) }
        #expect(flows.map(\.channel) == [5] && flows.first?.field(1) == .uint(16))
        #expect(!renewals.areDue && !session.isEchoDue)
    }

    @Test func idleLinksAreOwedAFlowUntilTheyAreVisited() throws {
        var renewals = WindowRenewals()
        let session = self.session(channel: 5, used: 1)
        renewals.lookAtIdleLinks(of: [session])
        #expect(renewals.areDue && session.isIdleLookDue && !renewals.mayOweIdleLinks)
        #expect(try self.renew(&renewals).flows.isEmpty && !session.isIdleLookDue && !renewals.areDue)
    }

    @Test func aSessionThatIsNotBegunHereIsNotRenewed() throws {
        var renewals = WindowRenewals()
        let session = self.session(channel: 5, used: 16)
        session.incoming = nil
        renewals.look(at: session)
        renewals.echo(session)
        var answers = 0
        renewals.answerEchoes { _ in answers += 1 }
        #expect(try self.renew(&renewals).flows.isEmpty && answers == 0 && !renewals.areDue)
    }
}
