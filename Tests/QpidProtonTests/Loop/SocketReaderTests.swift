// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// The path of the peer's bytes to Proton.
@Suite(.deadline)
struct SocketReaderTests {
    private var configuration: AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.acceptsIncoming = true
        return configuration
    }

    @Test func theHeaderIsCheckedUntilItIsComplete() {
        let reader = SocketReader(FrameObserver(maxFrameSize: 65_536, openLinks: 10))
        #expect(!reader.hasSeenHeader && reader.checkHeader(ByteBuffer(bytes: [0x41, 0x4D, 0x51])) == nil)
        #expect(!reader.hasSeenHeader && reader.checkHeader(ByteBuffer(bytes: [0x50, 0, 1, 0, 0, 9])) == nil)
        #expect(reader.hasSeenHeader && reader.checkHeader(ByteBuffer(bytes: [1, 2, 3])) == nil)
    }

    @Test func anotherProtocolIsRefused() {
        let reader = SocketReader(FrameObserver(maxFrameSize: 65_536, openLinks: 10))
        let error = reader.checkHeader(ByteBuffer(string: "HTTP/1.1"))
        #expect(error?.condition == .connectionFramingError && !reader.hasSeenHeader)
    }

    /// Proton drops a whole read in which it finds an error, so the frames before the error must reach it in a separate
    /// read.
    @Test func framesBeforeABadFrameArrive() async throws {
        try await withPeer(configuration: self.configuration) { _, peer in
            let (before, violation, after) = try await peer.run { peer in
                var bytes = try Frame.begin(channel: 7).encoded()
                bytes.writeBytes([0, 0, 0, 9, 2, 1, 0, 0, 0x40])
                let handler = peer.handler
                let before = handler.sessions.count
                let violation = bytes.withUnsafeReadableBytes { handler.reader.read($0, for: handler) }
                handler.processEvents()
                return (before, violation, handler.sessions.count)
            }
            #expect(before == 0 && after == 1)
            #expect(violation?.scope == .connection && violation?.detail.contains("type 1") == true)
        }
    }

    @Test func piecesOfAFrameAreNoViolation() async throws {
        try await withPeer(configuration: self.configuration) { _, peer in
            let (violations, sessions) = try await peer.run { peer in
                let handler = peer.handler
                let bytes = try Array(Frame.begin(channel: 7).encoded().readableBytesView)
                let violations = bytes.count { byte in
                    [byte].withUnsafeBytes { handler.reader.read($0, for: handler) } != nil
                }
                handler.processEvents()
                return (violations, handler.sessions.count)
            }
            #expect(violations == 0 && sessions == 1)
        }
    }
}
