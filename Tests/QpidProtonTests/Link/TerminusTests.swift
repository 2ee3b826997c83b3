// SPDX-License-Identifier: Apache-2.0

import CProton
import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Attaching with every field of the termini in both directions, refusals and detaches.
@Suite(.deadline)
struct TerminusTests {
    private static let source: AMQPSource = {
        var source = AMQPSource(address: "queue/ä")
        source.durability = .unsettledState
        source.expiryPolicy = .never
        source.timeout = .seconds(77)
        source.distributionMode = .copy
        source.filters = [
            .selector("colour = 'blue'"),
            AMQPFilter(name: "x:offset", descriptor: .ulong(0x1234), value: .list([.string("first"), .long(-1)])),
        ]
        source.capabilities = ["queue", "shared"]
        return source
    }()

    private static let target: AMQPTarget = {
        var target = AMQPTarget(address: "topic")
        target.durability = .configuration
        target.expiryPolicy = .connectionClose
        target.timeout = .seconds(5)
        target.capabilities = ["topic"]
        return target
    }()

    @Test func everyFieldIsSentInBothDirections() async throws {
        try await withSession { session, peer in
            var configuration = AMQPReceiver.Configuration(source: Self.source)
            configuration.name = "my link"
            configuration.target = Self.target
            let properties: AMQPMap = [.symbol("p"): .array(try AMQPArray([.int(1), .int(2)]))]
            configuration.properties = properties
            configuration.senderSettleMode = .settled
            configuration.settleMode = .second
            configuration.maxMessageSize = 5_000
            let receiver = try await session.openReceiver(configuration)
            // The peer echoes the received termini.
            #expect(receiver.name == "my link")
            #expect(receiver.remoteSource == Self.source)
            #expect(receiver.remoteTarget == Self.target)
            try await peer.run { peer in
                let link = peer.links[0]
                #expect(ProtonTerminus.source(pn_link_remote_source(link)) == Self.source)
                #expect(ProtonTerminus.target(pn_link_remote_target(link)) == Self.target)
                #expect(ProtonData.map(pn_link_remote_properties(link)) == properties)
                #expect(pn_link_remote_snd_settle_mode(link) == PN_SND_SETTLED)
                #expect(pn_link_remote_rcv_settle_mode(link) == PN_RCV_SECOND)
                #expect(pn_link_remote_max_message_size(link) == 5_000)
            }
            var sending = AMQPSender.Configuration(target: Self.target)
            sending.source = Self.source
            sending.settleMode = .mixed
            sending.receiverSettleMode = .second
            let sender = try await session.openSender(sending)
            #expect(sender.remoteTarget == Self.target)
            #expect(sender.remoteSource == Self.source)
        }
    }

    @Test(arguments: [AMQPTerminusExpiryPolicy.linkDetach, .sessionEnd, .connectionClose, .never])
    func expiryPolicies(policy: AMQPTerminusExpiryPolicy) async throws {
        try await withSession { session, _ async throws in
            var source = AMQPSource(address: "q")
            source.expiryPolicy = policy
            let receiver = try await session.openReceiver(.init(source: source))
            #expect(receiver.remoteSource.expiryPolicy == policy)
        }
    }

    @Test func dynamicNodes() async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onAttach = { peer, link in
                let isReceiver = pn_link_is_receiver(link)
                let remote: OpaquePointer? = isReceiver ? pn_link_remote_target(link) : pn_link_remote_source(link)
                #expect(pn_terminus_is_dynamic(remote))
                #expect(pn_terminus_get_address(remote) == nil)
                let local: OpaquePointer? = isReceiver ? pn_link_target(link) : pn_link_source(link)
                pn_terminus_copy(local, remote)
                pn_terminus_set_address(local, isReceiver ? "made/t" : "made/s")
                pn_link_open(link)
                return false
            }
            return script
        }
        try await withSession(script) { session, _ in
            var target = AMQPTarget.dynamic
            target.dynamicNodeProperties = [.symbol("lifetime-policy"): .described(0x2B, .list([]))]
            let sender = try await session.openSender(.init(target: target))
            #expect(sender.remoteTarget.address == "made/t")
            #expect(sender.remoteTarget.isDynamic)
            #expect(sender.remoteTarget.dynamicNodeProperties == target.dynamicNodeProperties)
            let receiver = try await session.openReceiver(.init(source: .dynamic))
            #expect(receiver.remoteSource.address == "made/s")
        }
    }

    @Test func theAnonymousTerminusIsATargetWithoutAddress() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: nil)
            #expect(sender.remoteTarget.address == nil)
            try await peer.run { peer in
                #expect(pn_terminus_get_type(pn_link_remote_target(peer.links[0])) == PN_TARGET)
            }
        }
    }

    @Test(arguments: [false, true])
    func aRefusalReportsThePeersReason(withReason: Bool) async throws {
        let script = { @Sendable () -> PeerScript in
            var script = PeerScript()
            script.onAttach = { _, link in
                // The refusal is an attach without the terminus, and a detach after it.
                pn_terminus_set_type(pn_link_source(link), PN_UNSPECIFIED)
                pn_terminus_set_type(pn_link_target(link), PN_UNSPECIFIED)
                pn_link_open(link)
                if withReason {
                    let condition = pn_link_condition(link)
                    pn_condition_set_name(condition, "amqp:not-found")
                    pn_condition_set_description(condition, "no such queue")
                }
                pn_link_close(link)
                return false
            }
            return script
        }
        try await withSession(script) { session, peer in
            let condition: AMQPCondition = withReason ? .notFound : .closed
            let error = await expectError(condition) { try await session.openSender(to: "nowhere") }
            if withReason {
                #expect(error?.detail == "no such queue")
                #expect(error?.scope == .link)
                #expect(error?.origin == .peer)
            }
            await expectError(condition) { try await session.openReceiver(from: "nowhere") }
            let detaches = try await peer.count(.detach)
            #expect(detaches == 2)
            #expect(session.error == nil)
        }
    }

    @Test func closingAndDetachingBothWays() async throws {
        try await withSession { session, peer in
            let sender = try await session.openSender(to: "q")
            await sender.close(
                AMQPError(scope: .link, condition: "x:done", detail: "finished", info: [.symbol("i"): .int(9)])
            )
            let receiver = try await session.openReceiver(from: "q")
            try await receiver.detach().check()
            let detaches = try await peer.framesOfLibrary().filter { $0.code == .detach }
            #expect(
                detaches.map { $0.field(1) } == [.bool(true), .null]
                    || detaches.map { $0.field(1) } == [.bool(true), .bool(false)]
            )
            #expect(detaches[0].field(2).description.contains("x:done"))
            #expect(sender.error?.condition == "x:done")
            #expect(receiver.error?.condition == .closed)
            // A close after a detach, and a second detach, have no effect.
            try await receiver.close().check()
            try await receiver.detach().check()
            // The peer detaches.
            let other = try await session.openReceiver(from: "q")
            try await peer.run { peer in
                pn_condition_set_name(pn_link_condition(peer.links[2]), "amqp:link:detach-forced")
                pn_link_detach(peer.links[2])
            }
            await expectError(.linkDetachForced) { try await other.next() }
            #expect(try await peer.count(.detach) == 3)
        }
    }

    @Test func namesOfLinks() async throws {
        try await withSession { session, _ in
            var configuration = AMQPSender.Configuration(target: "q")
            configuration.name = "a\0b"
            await expectError(.invalidArgument) { try await session.openSender(configuration) }
            configuration.name = "same"
            let first = try await session.openSender(configuration)
            await expectError(.invalidArgument) { try await session.openSender(configuration) }
            try await first.close().check()
            let second = try await session.openSender(configuration)
            #expect(try await second.send(AMQPMessage(body: "x")) == .accepted)
            try await second.detach().check()
            let third = try await session.openSender(configuration)
            #expect(try await third.send(AMQPMessage(body: "x")) == .accepted)
        }
    }
}
