// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport
import Testing

/// The limits of a client's senders: bytes, time and losses.
@Suite(.timeLimit(.minutes(3)))
struct ClientSenderLimitTests {
    @Test(arguments: [false, true])
    func aFullReplayLimitNamesItsCause(_ hasCredit: Bool) async throws {
        try await withClient { client, peer, _ in
            peer.withholdCredit(true)
            peer.settle(false)
            var configuration = AMQPClient.Sender.Configuration(target: "q")
            configuration.replayLimit = .kibibytes(2)
            let sender = try await client.sender(configuration)
            try await waitUntil("the link") { peer.receivers.count == 1 }
            if hasCredit { peer.receivers[0].grant(credit: 100) }
            let message = AMQPMessage(body: [UInt8](repeating: 7, count: 500))
            _ = try await sender.enqueue(message)
            _ = try await sender.enqueue(message)
            if hasCredit { try await waitUntil("both messages") { peer.arrivals.count == 2 } }
            try await waitUntil("a written message") { !hasCredit || sender.link?.outgoingBytes == 0 }
            let full = try await failure(of: "the next message") { try sender.trySend(message) }
            #expect(full.condition == .wouldBlock && full.fate == .notSent)
            #expect(full.blockedBy == [.replayLimit, hasCredit ? .unsettled : .credit], "\(full.blockedBy)")
            peer.receivers[0].grant(credit: 100)
            try await waitUntil("both messages") { peer.arrivals.count == 2 }
            for arrival in peer.arrivals { arrival.delivery.accept() }
            try await waitUntil("room") { sender.unsettledBytes == 0 }
        }
    }

    @Test func aFullLinkSuspendsTheSenderUntilTheLinkIsLost() async throws {
        try await withClient { client, peer, proxy in
            peer.withholdCredit(true)
            var configuration = AMQPClient.Sender.Configuration(target: "q")
            configuration.link.sendLimit = AMQPSendLimit(high: .bytes(10_000))
            let sender = try await client.sender(configuration)
            let padding = String(repeating: "x", count: 1_000)
            let sending = Task {
                for id in 0..<200 { try await sender.enqueue(AMQPMessage(body: "\(id) \(padding)")) }
            }
            // One message waits for the link, and the task waits with the next.
            try await waitUntil("the refusal of a message that may not wait") {
                guard sender.fates.handedOver >= 10 else { return false }
                do throws(AMQPError) {
                    try sender.trySend(AMQPMessage(body: padding))
                    return false
                } catch {
                    return error.blockedBy == [.linkLimit, .credit]
                }
            }
            let accepted = sender.fates.handedOver
            #expect(accepted <= 20, "\(accepted)")
            proxy.beginOutage()
            // Without a link, only the replay limit applies.
            try await within("the rest") { try await sending.value }
            #expect(sender.fates.queued >= 200)
            peer.withholdCredit(false)
            proxy.endOutage()
            try await waitUntil("all messages") { sender.unsettledBytes == 0 }
            #expect(peer.ids.compactMap { Int($0.prefix(while: \.isNumber)) } == Array(0..<200))
        }
    }

    @Test func anOutageFillsTheReplayLimitButNotMore() async throws {
        try await withClient { client, peer, proxy in
            var configuration = AMQPClient.Sender.Configuration(target: "q")
            configuration.replayLimit = .kibibytes(64)
            let sender = try await client.sender(configuration)
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            let message = AMQPMessage(body: [UInt8](repeating: 7, count: 1_000))
            let full = try await failure(of: "the last message") {
                for _ in 0..<1_000 { try sender.trySend(message) }
            }
            #expect(
                full.condition == .wouldBlock && full.fate == .notSent && full.blockedBy == [.replayLimit, .closed]
            )
            #expect(full.detail.contains("64 KiB") && full.detail.contains("link is lost"))
            #expect(sender.unsettledBytes <= .kibibytes(64) && sender.unsettledBytes >= .kibibytes(62))
            // Many tasks wait, in order.
            let waiting = Task { () -> [AMQPClient.Tracker] in
                var trackers: [AMQPClient.Tracker] = []
                for id in 0..<100 { trackers.append(try await sender.enqueue(AMQPMessage(body: "\(id)"))) }
                return trackers
            }
            try await Task.sleep(for: .milliseconds(50))
            #expect(sender.unsettledBytes <= .kibibytes(64))
            proxy.endOutage()
            for tracker in try await within("the rest", { try await waiting.value }) { _ = try await tracker.outcome() }
            #expect(peer.ids.filter { $0.count < 4 } == (0..<100).map { "\($0)" })
        }
    }

    @Test(arguments: [AMQPOverflow.fail, .dropNewest, .dropOldest])
    func theOverflowPolicyAppliesDuringAnOutage(_ overflow: AMQPOverflow) async throws {
        try await withClient { client, peer, proxy in
            var configuration = AMQPClient.Sender.Configuration(target: "q")
            configuration.replayLimit = .bytes(3 * (256 + 20))
            configuration.link.overflow = overflow
            let sender = try await client.sender(configuration)
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            var trackers: [AMQPClient.Tracker] = []
            for id in 0..<3 { trackers.append(try await sender.enqueue(AMQPMessage(body: "\(id)"))) }
            if overflow == .fail {
                let error = try await failure(of: "one more") { try await sender.enqueue(AMQPMessage(body: "3")) }
                #expect(error.condition == .wouldBlock)
            } else {
                trackers.append(try await sender.enqueue(AMQPMessage(body: "3")))
                let dropped = trackers[overflow == .dropOldest ? 0 : 3]
                let error = try await failure(of: "the message") { try await dropped.outcome() }
                #expect(error.condition == .dropped && error.fate == .dropped)
            }
            proxy.endOutage()
            try await waitUntil("the rest") { peer.ids.count == 3 }
            #expect(peer.ids == (overflow == .dropOldest ? ["1", "2", "3"] : ["0", "1", "2"]))
        }
    }

    @Test func aMessageExpiresDuringAnOutage() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            var mortal = AMQPMessage(body: "mortal")
            mortal.header.timeToLive = .milliseconds(60)
            let tracker = try await sender.enqueue(mortal)
            let error = try await failure(of: "the first") {
                try await sender.send(AMQPMessage(body: "short"), options: .init(expiresAfter: .milliseconds(20)))
            }
            #expect(error.condition == .expired && error.fate == .expired)
            let second = try await failure(of: "the second") { try await tracker.outcome() }
            #expect(second.condition == .expired && second.fate == .expired)
            var lasting = AMQPMessage(body: "lasting")
            lasting.header.timeToLive = .seconds(60)
            let last = try await sender.enqueue(lasting)
            try await Task.sleep(for: .milliseconds(30))
            proxy.endOutage()
            _ = try await last.outcome()
            #expect(peer.ids == ["lasting"])
            let left = try #require(peer.arrivals[0].message.header.timeToLive)
            #expect(left < .seconds(60) && left > .seconds(30), "\(left)")
        }
    }

    @Test func aTimeoutOfASendContinuesDuringAnOutage() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            peer.settle(false)
            let doubt = try await failure(of: "the first") {
                try await sender.send(AMQPMessage(body: "doubtful"), timeout: .seconds(2))
            }
            #expect(doubt.condition == .timeout && doubt.fate == .inDoubt && doubt.tracker != nil)
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            let error = try await failure(of: "the second") {
                try await sender.send(AMQPMessage(body: "withdrawn"), timeout: .milliseconds(50))
            }
            #expect(error.condition == .timeout && error.fate == .notSent)
            peer.settle(true)
            proxy.endOutage()
            #expect(try await doubt.tracker?.outcome() == .accepted)
            try await sender.send(AMQPMessage(body: "third"), timeout: .seconds(60))
            #expect(peer.ids == ["doubtful", "doubtful", "third"])
        }
    }

    @Test func aCancelledSendIsWithdrawnDuringAnOutage() async throws {
        try await withClient { client, peer, proxy in
            let sender = try await client.sender(to: "q")
            proxy.beginOutage()
            try await waitUntil("the loss") { sender.link == nil }
            let sending = Task { try await sender.send(AMQPMessage(body: "withdrawn")) }
            try await waitUntil("the message") { sender.unsettledBytes > 0 }
            sending.cancel()
            let error = try await failure(of: "sending") { try await sending.value }
            #expect(error.condition == .cancelled && error.fate == .notSent && sender.unsettledBytes == 0)
            proxy.endOutage()
            try await sender.send(AMQPMessage(body: "other"))
            #expect(peer.ids == ["other"])
        }
    }
}
