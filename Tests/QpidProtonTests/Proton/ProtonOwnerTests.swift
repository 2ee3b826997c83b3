// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The owners of sessions and links, and the order in which deliveries end.
@Suite(.deadline)
struct ProtonOwnerTests {
    private final class Endpoint {}

    // MARK: Owners

    @Test func freeEmptiesALink() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            var link = try session.sender()
            let endpoint = Endpoint()
            link.setContext(endpoint)
            _ = try pair.attach(link)
            let active = [link.isLocallyActive, link.isRemotelyActive]
            #expect(active == [true, true])
            link.free()
            let left = [link.isLocallyActive, link.isRemotelyActive, link.isLocallyUnopened, link.isRemotelyUnopened]
            let closed = [link.isLocallyClosed, link.isRemotelyClosed]
            #expect(left == [false, false, false, false] && closed == [true, true])
            // The second call has no effect.
            link.abandon()
        }
    }

    @Test func freeEmptiesASession() throws {
        try EnginePair.run { pair in
            var session = try pair.beginSession()
            pair.exchange()
            let begun = [session.isLocallyActive, session.isRemotelyUnopened]
            #expect(begun == [true, true])
            session.free()
            let left = [session.isLocallyActive, session.isRemotelyUnopened]
            let closed = [session.isLocallyClosed, session.isRemotelyClosed]
            #expect(left == [false, false] && closed == [true, true])
            session.abandon()
        }
    }

    /// The endpoint may be freed before the event arrives.
    @Test(arguments: [false, true]) func anEventOfAFreedLinkFindsNoEndpoint(isAbandoned: Bool) throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            var link = try session.sender()
            let endpoint = Endpoint()
            link.setContext(endpoint)
            var end = try pair.attach(link)
            while pair.client.nextEvent() != nil {}
            end.setError(AMQPError(scope: .link, condition: .resourceDeleted))
            end.close()
            pair.exchange()
            if isAbandoned { link.abandon() } else { link.free() }
            var found: [Endpoint?] = []
            while let event = pair.client.nextEvent() {
                if case .linkRemoteClose(let view) = event { found.append(view.context(as: Endpoint.self)) }
            }
            #expect(found.count == 1 && found.allSatisfy { $0 == nil })
            end.free()
            withExtendedLifetime(endpoint) {}
        }
    }

    @Test func anEventFindsTheEndpointOfItsLink() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            let link = try session.sender()
            let endpoint = Endpoint()
            link.setContext(endpoint)
            let end = try pair.attach(link)
            while pair.client.nextEvent() != nil {}
            end.grant(1)
            pair.exchange()
            var found: [Endpoint?] = []
            while let event = pair.client.nextEvent() {
                if case .linkFlow(let view) = event { found.append(view.context(as: Endpoint.self)) }
            }
            #expect(found.count == 1 && found.allSatisfy { $0 === endpoint })
        }
    }

    @Test func theUseOfAFreedLinkTraps() async {
        await #expect(processExitsWith: .failure) {
            try EnginePair.run { pair in
                let session = try pair.beginSession()
                var link = try session.sender()
                link.free()
                _ = link.unsettledCount
            }
        }
    }

    // MARK: Deliveries

    @Test func settlingTheCurrentDeliveryAdvancesOnce() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            let link = try session.receiver()
            let end = try pair.attach(link)
            for byte in UInt8(1)...3 { end.send(byte) }
            pair.exchange()
            var tags: [UInt8?] = []
            for _ in 0..<2 {
                tags.append(link.current?.tag.first)
                _ = link.dropCurrent()
                link.current?.settle()
            }
            // The other order: advance first, and settle the delivery when it is no longer current.
            let last = link.current
            tags.append(last?.tag.first)
            _ = link.dropCurrent()
            link.advance()
            last?.settle()
            tags.append(link.current?.tag.first)
            #expect(tags == [1, 2, 3, nil])
            let (unsettled, incoming) = (link.unsettledCount, session.incomingBytes)
            #expect(unsettled == 0 && incoming == 0)
        }
    }

    @Test func aMessageThatIsSentSettledLeavesNothing() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            let link = try session.sender()
            let end = try pair.attach(link)
            for byte in UInt8(1)...3 {
                let hasBegun = withUnsafeBytes(of: byte) { link.beginDelivery(tag: $0) } != nil
                withUnsafeBytes(of: byte) { link.send($0) }
                link.advanceSettled()
                let (current, unsettled) = (link.current, link.unsettledCount)
                #expect(hasBegun && current == nil && unsettled == 0)
            }
            pair.exchange()
            var received: [UInt8?] = []
            while let current = end.current {
                received.append(current.tag.first)
                #expect(current.isRemotelySettled)
                _ = end.dropCurrent()
                current.settle()
            }
            #expect(received == [1, 2, 3])
        }
    }

    /// Proton creates the next delivery in the memory of the last one (P11).
    @Test func theContextIsReturnedOnceAndNeverReachesTheNextDelivery() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            let link = try session.sender()
            let end = try pair.attach(link)
            let context = UnsafeMutableRawPointer(bitPattern: 0x1000)
            var places: Set<UInt> = []
            for byte in UInt8(1)...5 {
                let begun = withUnsafeBytes(of: byte) { link.beginDelivery(tag: $0) }
                let delivery = try #require(begun)
                #expect(delivery.context == nil)
                places.insert(UInt(bitPattern: delivery.pointer))
                if let context { delivery.setContext(context) }
                withUnsafeBytes(of: byte) { link.send($0) }
                link.advance()
                pair.exchange()
                end.current?.accept()
                end.current?.settle()
                pair.exchange()
                while let event = pair.client.nextEvent() {
                    guard case .delivery(let view, _) = event, view.isUpdated else { continue }
                    view.clearUpdate()
                    #expect(view.isRemotelySettled)
                    guard case .success(.accepted)? = view.remoteOutcome else { continue }
                    #expect(view.context == context && view.takeContext() == context)
                    #expect(view.context == nil && view.takeContext() == nil)
                    view.settle()
                }
                let unsettled = link.unsettledCount
                #expect(unsettled == 0)
                pair.exchange()
            }
            #expect(places.count < 5, "Proton recycles no delivery: this test shows nothing")
        }
    }

    /// A receiver stores its keys in Proton, which clears them with the delivery.
    @Test func aKeyEndsWithItsDelivery() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            let link = try session.receiver()
            let end = try pair.attach(link)
            var places: Set<UInt> = []
            for byte in UInt8(1)...5 {
                let sent = end.send(byte)
                pair.exchange()
                let current = link.current
                let delivery = try #require(current)
                #expect(delivery.key == 0)
                places.insert(UInt(bitPattern: delivery.pointer))
                delivery.setKey(UInt(byte))
                #expect(delivery.key == UInt(byte))
                _ = link.dropCurrent()
                delivery.accept()
                delivery.settle()
                pair.exchange()
                while pair.client.nextEvent() != nil {}
                while pair.server.nextEvent() != nil {}
                sent?.settle()
                pair.exchange()
            }
            #expect(places.count < 5, "Proton recycles no delivery: this test shows nothing")
        }
    }

    @Test func unsettledDeliveriesMayBeSettledWhileTheyAreVisited() throws {
        try EnginePair.run { pair in
            let session = try pair.beginSession()
            let link = try session.sender()
            _ = try pair.attach(link)
            for byte in UInt8(1)...4 { link.send(byte) }
            pair.exchange()
            var tags: [UInt8?] = []
            for delivery in link.unsettled {
                tags.append(delivery.tag.first)
                delivery.settle()
            }
            let unsettled = link.unsettledCount
            #expect(tags == [1, 2, 3, 4] && unsettled == 0)
        }
    }

    #if DEBUG
        @Test func settlingADeliveryBeforeItsContextIsReturnedTraps() async {
            await #expect(processExitsWith: .failure) {
                try EnginePair.run { pair in
                    let session = try pair.beginSession()
                    let link = try session.sender()
                    _ = try pair.attach(link)
                    link.send(1, context: UnsafeMutableRawPointer(bitPattern: 0x1000))?.settle()
                }
            }
        }
    #endif
}
