// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The bytes that Proton has received and not framed yet: in order, and each byte once.
@Suite struct HandedBytesTests {
    private let nodes = [SlotKey(bitPattern: 1), SlotKey(bitPattern: 2)]

    private func bytes(_ count: Int, _ node: Int = 0, _ settled: OutcomePromise? = nil) -> InFlightBytes {
        InFlightBytes(bytes: count, node: self.nodes[node], settled: settled)
    }

    /// Returns the bytes that Proton has framed if `outgoing` bytes remain. Each element holds the number of bytes, the
    /// number of the node, and whether the bytes complete a message.
    private func framed(_ handed: inout HandedBytes, leaving outgoing: Int) -> [[Int]] {
        var writes = PendingWrites()
        handed.takeFramed(leaving: outgoing, into: &writes)
        writes.add(bytes: 1, isPromised: false)
        var confirmed = writes.confirm()
        var all: [[Int]] = []
        while let next = writes.next(of: &confirmed) {
            all.append([next.bytes, next.node == self.nodes[0] ? 0 : 1, next.settled == nil ? 0 : 1])
        }
        return all
    }

    @Test func bytesOfOneLinkShareAnEntryAndLinksKeepTheirOrder() {
        var handed = HandedBytes()
        for (count, node) in [(10, 0), (20, 0), (5, 1), (7, 0)] { handed.add(self.bytes(count, node)) }
        #expect(self.framed(&handed, leaving: 0) == [[30, 0, 0], [5, 1, 0], [7, 0, 0]])
        #expect(handed.takeAll().isEmpty)
    }

    @Test func unframedBytesStay() {
        var handed = HandedBytes()
        handed.add(self.bytes(30))
        handed.add(self.bytes(20, 1))
        #expect(self.framed(&handed, leaving: 50) == [])
        #expect(self.framed(&handed, leaving: 38) == [[12, 0, 0]])
        #expect(self.framed(&handed, leaving: 15) == [[18, 0, 0], [5, 1, 0]])
        handed.add(self.bytes(4, 1))
        #expect(self.framed(&handed, leaving: 0) == [[19, 1, 0]])
    }

    /// A settled message is done with its last byte, not with its first.
    @Test func aSettledMessageIsDoneWithItsLastByte() {
        let message = singleMessage(1)
        defer { message.fail(.cancelled) }
        var handed = HandedBytes()
        handed.add(self.bytes(10))
        handed.add(self.bytes(5, 0, message.outcome))
        handed.add(self.bytes(3))
        #expect(self.framed(&handed, leaving: 4) == [[14, 0, 0]])
        #expect(self.framed(&handed, leaving: 3) == [[1, 0, 1]])
        #expect(self.framed(&handed, leaving: 0) == [[3, 0, 0]])
    }

    @Test func unwrittenBytesAreReturnedOnce() {
        var handed = HandedBytes()
        handed.add(self.bytes(30))
        handed.add(self.bytes(20, 1))
        _ = self.framed(&handed, leaving: 45)
        #expect(handed.takeAll().map(\.bytes) == [25, 20])
        #expect(handed.takeAll().isEmpty)
        handed.add(self.bytes(6))
        #expect(self.framed(&handed, leaving: 0) == [[6, 0, 0]])
    }
}
