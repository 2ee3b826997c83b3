// SPDX-License-Identifier: Apache-2.0

import Logging
import Synchronization
import TestSupport
import Testing

@testable import QpidProton

/// The kinds of close, and the cancellation of the call that waits for a close.
@Suite struct CloseRequestTests {
    private let key = SlotKey(bitPattern: 1)

    private var targets: [CloseRequest.Target] {
        let link = LinkStatus(name: "l", key: LinkKey(session: self.key, link: self.key))
        let unsent = UnsentSettlements(metadata: [:], logger: LogLines().logger)
        let receiver = CloseReport.Receiver(linkName: "l", address: nil, settlements: unsent)
        return [.connection, .session(SessionStatus(key: self.key)), .sender(link), .receiver(link, receiver)]
    }

    @Test func theAnswerIsNamedAfterTheClosedObject() {
        let requests = self.targets.map { CloseRequest(target: $0, report: CloseReport(), answered: Reply()) }
        #expect(requests.map(\.what) == ["the close", "the end", "the detach", "the detach"])
        // A missing answer ends the whole connection only when the connection itself is closed.
        #expect(requests.map(\.scope) == [.connection, .call, .call, .call])
    }

    @Test func aConnectionCloseStopsReceiversWithoutADetach() {
        let request = CloseRequest(target: .connection, report: CloseReport(), answered: Reply())
        #expect(!request.detaches && request.stopsReceivers && request.error == nil)
    }
}

/// The cancellation may precede the beginning of the close on the loop.
@Suite struct CloseCallTests {
    private final class Graces: Sendable {
        let all = Mutex<[Duration?]>([])
        func add(_ grace: Duration?) { self.all.withLock { $0.append(grace) } }
        var list: [Duration?] { self.all.withLock { $0 } }
    }

    @Test func anEarlyCancellationCutsTheCloseShortWhenItBegins() {
        for grace in [Duration.seconds(3), nil] {
            let (call, graces) = (CloseCall(), Graces())
            call.cancel(grace)
            #expect(graces.list.isEmpty)
            call.begin { graces.add($0) }
            #expect(graces.list == [grace])
        }
    }

    @Test func aLaterCancellationCutsItShortAtOnce() {
        let (call, graces) = (CloseCall(), Graces())
        call.begin { graces.add($0) }
        #expect(graces.list.isEmpty)
        call.cancel(.seconds(1))
        #expect(graces.list == [.seconds(1)])
        call.cancel(nil)
        #expect(graces.list == [.seconds(1), nil])
    }
}
