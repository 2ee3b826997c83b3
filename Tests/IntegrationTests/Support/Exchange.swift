// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL
import TestSupport

/// Sends bytes to a port of this machine, and returns the answer up to `isEnough` or the end of the socket.
///
/// `rest` follows once the answer contains every one of `marks`.
func exchange(
    _ bytes: [UInt8],
    with port: Int,
    rest: [UInt8] = [],
    after marks: [[UInt8]] = [],
    tls: NIOSSLContext? = nil,
    until isEnough: @escaping @Sendable ([UInt8]) -> Bool
) async throws -> [UInt8] {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                if let tls { try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: "localhost")) }
                return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    return try await within("an answer of port \(port)") {
        try await channel.executeThenClose { inbound, outbound in
            var answer: [UInt8] = []
            var rest = rest
            do {
                try await outbound.write(ByteBuffer(bytes: bytes))
                for try await buffer in inbound {
                    answer += buffer.readableBytesView
                    if !rest.isEmpty, marks.allSatisfy({ answer.contains($0) }) {
                        try await outbound.write(ByteBuffer(bytes: rest))
                        rest = []
                    }
                    if isEnough(answer) { break }
                }
            } catch is IOError {
                // The peer has closed the socket, which also ends the answer.
            } catch is ChannelError {
            }
            return answer
        }
    }
}
