import CProton
import NIOCore
import Testing

@testable import QpidProton

@Suite(.timeLimit(.minutes(1)))
struct ConnectionTests {
    @Test func opensAndCloses() async throws {
        try await withPeer { connection, peer in
            #expect(connection.peer.containerID == "peer")
            try await connection.close()
            #expect(try await peer.count(.close) == 1)
            #expect(connection.error?.condition == .closed)
        }
    }
}
