// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix

// Nothing can overtake unsent bytes in the kernel, so the socket accepts more only when few unsent bytes are left.

#if os(Linux)
    private enum NotSentLimit {
        /// TCP_NOTSENT_LOWAT.
        static let option = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: 25))
        /// Measured: see Documentation/adr/0015-the-backlog-stays-in-swift.md.
        static let bytes = 131_072
    }

    extension ClientBootstrap {
        func urgentChannelOption() -> ClientBootstrap {
            self.channelOption(NotSentLimit.option, value: NotSentLimit.bytes)
        }
    }

    extension ServerBootstrap {
        func urgentChildChannelOption() -> ServerBootstrap {
            self.childChannelOption(NotSentLimit.option, value: NotSentLimit.bytes)
        }
    }
#else
    extension ClientBootstrap {
        func urgentChannelOption() -> ClientBootstrap { self }
    }

    extension ServerBootstrap {
        func urgentChildChannelOption() -> ServerBootstrap { self }
    }
#endif
