// SPDX-License-Identifier: Apache-2.0

import NIOCore

@testable import QpidProton

/// The settings that the first byte of an input chooses.
struct FuzzOptions {
    let byte: UInt8

    private func has(_ bit: Int) -> Bool { self.byte & 1 << bit != 0 }

    /// Whether the sessions and links are open before the first byte arrives.
    var isOpenBefore: Bool { self.has(2) }
    /// Whether time passes between the pieces and after them.
    var timePasses: Bool { self.has(3) }
    /// Whether the socket accepts written bytes late.
    var isSlow: Bool { self.has(4) }
    /// Whether a client accepts the sessions and links of its peer, or a server requires a login.
    var isStrange: Bool { self.has(5) }
    /// Whether messages are streamed.
    var streams: Bool { self.has(6) }
    var isSmall: Bool { self.has(7) }

    /// Returns the pieces in which the bytes arrive: single frames, pairs of frames, seven bytes at a time, or
    /// everything at once.
    func pieces(_ bytes: UnsafeRawBufferPointer) -> [ByteBuffer] {
        var pieces: [ByteBuffer] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count =
                switch self.byte & 3 {
                case 0: Self.frame(rest)
                case 1: Self.frame(rest) + Self.frame(rest.dropFirst(Self.frame(rest)))
                case 2: 7
                default: rest.count
                }
            pieces.append(FuzzTarget.buffer(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }

    /// Returns the size of the protocol header or frame that begins here, or of the remaining bytes if neither can
    /// begin.
    private static func frame(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int {
        guard bytes.count >= 8 else { return bytes.count }
        if bytes.starts(with: Array("AMQP".utf8)) { return 8 }
        let size = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        return (8...bytes.count).contains(size) ? size : bytes.count
    }

    /// Returns the settings of the connection. All sent and received bytes count against `budget`.
    func connection(_ role: FuzzConnection.Role, _ budget: AMQPMemoryBudget) -> AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.containerID = "fuzz"
        configuration.acceptsIncoming = role == .server || self.isStrange
        configuration.incomingLimit = 8
        configuration.operationTimeout = .seconds(1)
        configuration.idleTimeout = .seconds(2)
        configuration.sendBudget = budget
        configuration.receiveBudget = budget
        if self.isSmall {
            configuration.maxFrameSize = 512
            configuration.channelMax = 3
        }
        return configuration
    }

    var session: AMQPSession.Configuration {
        var configuration = AMQPSession.Configuration()
        if self.isSmall { configuration.incomingCapacity = .bytes(4_096) }
        return configuration
    }

    var receiver: AMQPReceiver.Configuration {
        var configuration = AMQPReceiver.Configuration(
            source: "q",
            window: self.isSmall ? .bytes(.bytes(4_096)) : .automatic
        )
        configuration.name = "receiver"
        configuration.streamsMessages = self.streams
        if self.isSmall {
            configuration.maxMessageSize = .bytes(1_000)
            configuration.streamBuffer = .bytes(512)
        }
        return configuration
    }

    var sender: AMQPSender.Configuration {
        var configuration = AMQPSender.Configuration(target: "q")
        configuration.name = "sender"
        if self.isSmall { configuration.sendLimit = .init(high: .bytes(2_000)) }
        return configuration
    }
}
