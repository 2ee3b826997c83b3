// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The reuse of the buffers of settled messages.
@Suite struct SpareBuffersTests {
    @Test func aReusedBufferIsEmptyAndKeepsItsMemory() {
        let spares = SpareBuffers()
        #expect(spares.take().storageCapacity == 0)
        spares.giveBack([ByteBuffer(repeating: 7, count: 200)])
        let buffer = spares.take()
        #expect(buffer.readableBytes == 0 && buffer.storageCapacity >= 200 && spares.count == 0)
    }

    @Test func onlySmallBuffersUpToTheLimitAreKept() {
        let spares = SpareBuffers()
        spares.giveBack([ByteBuffer(repeating: 7, count: SpareBuffers.largest + 1)])
        #expect(spares.count == 0)
        spares.giveBack((0...SpareBuffers.most).map { _ in ByteBuffer(repeating: 7, count: 10) })
        #expect(spares.count == SpareBuffers.most)
    }

    @Test func aBufferThatTheApplicationKeepsDoesNotChange() {
        let (spares, own) = (SpareBuffers(), ByteBuffer(string: "mine"))
        spares.giveBack([own])
        var next = spares.take()
        next.writeString("other")
        #expect(String(buffer: own) == "mine" && String(buffer: next) == "other")
    }
}
