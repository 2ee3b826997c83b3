// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import QpidProton

/// The state of a link as the tasks see it.
@Suite struct LinkStatusTests {
    private let status = LinkStatus(
        name: "l",
        key: LinkKey(session: SlotKey(bitPattern: 1), link: SlotKey(bitPattern: 2))
    )

    @Test func aNewLinkHasNoStateOfThePeer() {
        #expect(self.status.endError == nil && self.status.attachment.answer == nil)
        #expect(self.status.available.load(ordering: .relaxed) == -1)
        #expect(self.status.credit.load(ordering: .relaxed) == 0 && self.status.deliveryLimit.value == 0)
        #expect(self.status.cause.load(ordering: .relaxed) == .socket)
    }

    @Test func thePeakIsTheLargestSumOfBufferedBytes() {
        func count(_ bytes: Int, beside waiting: Int) -> [Int] {
            self.status.countStreamed(bytes, beside: waiting)
            return [
                self.status.streamedBytes.load(ordering: .relaxed),
                self.status.bufferedBytesPeak.load(ordering: .relaxed),
            ]
        }
        #expect(count(100, beside: 50) == [100, 150])
        #expect(count(20, beside: 10) == [20, 150])
        #expect(count(0, beside: 151) == [0, 151])
    }

    @Test(arguments: [
        (AMQPError.Origin.peer, AMQPError.Ending.closed, "the peer closed the link l"),
        (.peer, .detached, "the peer detached the link l"), (.peer, .refused, "the peer refused the link l"),
        (.local, .closed, "this side closed the link l"), (.local, .detached, "this side detached the link l"),
    ])
    func anOrderlyEndNamesTheSideAndTheWay(origin: AMQPError.Origin, ending: AMQPError.Ending, text: String) throws {
        self.status.ended.resolve(.success(.link(by: origin, ending)))
        let error = try #require(self.status.endError)
        #expect(error.detail == text && error.condition == .closed && error.scope == .link)
        #expect(error.origin == origin && error.ending == ending)
    }

    @Test func anEndWithTheSessionIsTheSessions() {
        let cause = AMQPError(scope: .session, condition: .closed, detail: "the session ended")
        self.status.ended.resolve(.success(.withAll(cause)))
        #expect(self.status.endError == cause)
    }

    @Test func anErrorIsTheEnd() {
        let error = AMQPError(scope: .link, condition: .notFound, detail: "no queue")
        self.status.ended.resolve(.failure(error))
        self.status.ended.resolve(.success(.link(by: .local, .closed)))
        #expect(self.status.endError == error)
    }
}
