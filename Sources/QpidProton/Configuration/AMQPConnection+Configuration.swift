// SPDX-License-Identifier: Apache-2.0

public import NIOCore
internal import NIOPosix

extension AMQPConnection {
    /// The settings of a connection.
    ///
    /// `connect` and `bind` check every field first. If a value is unusable, they throw
    /// ``AMQPCondition/invalidArgument`` with the name of the field.
    public struct Configuration: Sendable {
        /// The name of this container in the `open` frame; if `nil`, the library generates one. It must not be empty or
        /// contain a zero byte.
        public var containerID: String?
        /// The virtual host to use at the peer, without a zero byte: the `hostname` in the `open` frame. `nil` for the
        /// host of the URL.
        public var virtualHost: String?
        /// The largest frame that this side accepts, in bytes: from 512 to 16 MiB; 64 KiB by default.
        ///
        /// Source: AMQP 1.0 §2.7.1, `pn_transport_set_max_frame`.
        public var maxFrameSize: AMQPByteCount = .kibibytes(64)
        /// The highest channel number: 1,023 by default, 32,767 at most. A connection has at most one session more than
        /// this number.
        public var channelMax: UInt16 = 1_023
        /// How long the peer may be silent before the connection ends: 60 s by default, from 4 ms to 49 days; `nil` for
        /// no limit.
        ///
        /// The `open` frame announces half of this time, and an idle peer sends empty frames. This side sends empty
        /// frames to a peer that announces an idle timeout.
        ///
        /// Source: AMQP 1.0 §2.4.5.
        public var idleTimeout: Duration? = .seconds(60)
        /// How long the lookup of the host's addresses and the connection to one of them may take; 10 s by default,
        /// 36,500 days at most.
        public var connectTimeout: Duration = .seconds(10)
        /// How long TLS, SASL and the exchange of `open` frames may take together; 10 s by default, 36,500 days at
        /// most.
        public var openTimeout: Duration = .seconds(10)
        /// How long the peer may take to answer a begin, attach, detach, end, close or drain; 30 s by default, 36,500
        /// days at most.
        public var operationTimeout: Duration = .seconds(30)
        /// The properties of the connection that this side announces to the peer.
        public var properties: AMQPMap = [:]
        /// The extensions beyond the standard that this side offers.
        public var offeredCapabilities: [AMQPSymbol] = []
        /// The extensions beyond the standard that this side requests from the peer.
        public var desiredCapabilities: [AMQPSymbol] = []
        /// The login method. `.automatic` uses the user and password of a URL.
        public var sasl: AMQPSASL = .automatic
        /// The TLS settings for `amqps`. The defaults verify the peer against the system's roots.
        public var tls = AMQPTLS()
        /// Whether ``AMQPConnection/incoming`` delivers sessions and links that the peer begins; otherwise the library
        /// refuses them.
        public var acceptsIncoming = false
        /// The maximum number of the peer's sessions and links that may wait in ``AMQPConnection/incoming``: 1,024 by
        /// default, 1 to 1,048,576.
        public var incomingLimit = 1_024
        /// The maximum number of links that the peer has attached on its own at the same time: 4,096 by default, 1 to
        /// 32,768.
        ///
        /// The library detaches each further link with ``AMQPCondition/resourceLimitExceeded``. A refused link counts
        /// until the peer has detached it too.
        ///
        /// The library closes the connection if the peer attaches too many further links without waiting for an answer.
        /// The limit for these is the sum of this limit and ``incomingLimit``. ``channelMax`` limits sessions.
        public var incomingLinkLimit = 4_096
        /// The share of the sent bytes for senders of lower priorities while a sender of a higher priority has enough
        /// to send: 0.05 by default.
        ///
        /// The range is 0 to 0.5. With 0, senders of lower priorities may wait forever.
        public var lowPriorityShare = 0.05
        /// The limit for accepted bytes of all senders of the connection that are not yet written to the socket.
        ///
        /// If `nil`, the default, only the limits of the sessions and links apply.
        public var sendLimit: AMQPSendLimit?
        /// The budget for accepted bytes, shared by any number of connections; `nil` for no budget.
        public var sendBudget: AMQPMemoryBudget?
        /// The budget for the bytes of received messages, shared by any number of connections; `nil` for no budget.
        ///
        /// The bytes count from their arrival until their messages free their place in the receiver's window: see
        /// ``AMQPReceiver/Configuration/creditReturn``. When the budget runs short, the library withholds credit, then
        /// the sessions' windows. As the last resort it stops reading the socket. A message that cannot fit and is not
        /// streamed closes its link with ``AMQPCondition/linkMessageSizeExceeded``.
        public var receiveBudget: AMQPMemoryBudget?
        /// How long a link with pending work may make no progress before the library logs one warning that names the
        /// cause.
        ///
        /// 30 s by default; `nil` for no warning.
        public var stallWarning: Duration? = .seconds(30)
        /// The settings for reports to swift-metrics; `nil` for no reports.
        public var metrics: AMQPMetrics?
        /// Whether to log every frame at trace level; false by default.
        ///
        /// The library logs both directions, including heartbeats: channel, performative, fields, and the size of the
        /// payload. It never logs the contents of messages or SASL frames.
        public var tracesFrames = false
        /// The event loops that connections run on: a `MultiThreadedEventLoopGroup`, or one of its loops.
        public var eventLoopGroup: any EventLoopGroup {
            get { self.loops.value }
            set { self.loops.value = newValue }
        }
        private var loops = Unshown<any EventLoopGroup>(value: MultiThreadedEventLoopGroup.singleton)

        /// Creates a configuration with the defaults.
        public init() {}

        func validate() throws(AMQPError) {
            func require(_ condition: Bool, _ text: @autoclosure () -> String) throws(AMQPError) {
                if !condition { throw AMQPError(condition: .invalidArgument, detail: text()) }
            }
            try require(self.maxFrameSize >= 512, "maxFrameSize is \(self.maxFrameSize): 512 B is the least")
            try require(
                self.maxFrameSize <= .mebibytes(16),
                "maxFrameSize is \(self.maxFrameSize): a frame is held whole, so 16 MiB is the most"
            )
            try require(self.channelMax <= 32_767, "channelMax is \(self.channelMax): 32,767 is the most")
            try require(
                (1...1_048_576).contains(self.incomingLimit),
                "incomingLimit is \(self.incomingLimit): it must be from 1 to 1,048,576"
            )
            try require(
                (1...32_768).contains(self.incomingLinkLimit),
                "incomingLinkLimit is \(self.incomingLinkLimit): it must be from 1 to 32,768"
            )
            try require(
                (0...0.5).contains(self.lowPriorityShare),
                "lowPriorityShare is \(self.lowPriorityShare): it must be from 0 to 0.5"
            )
            try self.sendLimit?.validateShared()
            try self.metrics?.validate()
            if let budget = self.receiveBudget {
                try require(
                    budget.limit >= .mebibytes(1),
                    "receiveBudget is \(budget.limit): 1 MiB is the least, because it includes one read of a socket"
                )
            }
            if let idle = self.idleTimeout {
                try require(
                    idle >= .milliseconds(4) && idle <= Self.longestIdleTimeout,
                    "idleTimeout is \(idle): it must be from 4 ms to 49 days, or nil for none"
                )
            }
            for (name, time) in [
                ("connectTimeout", self.connectTimeout), ("openTimeout", self.openTimeout),
                ("operationTimeout", self.operationTimeout), ("stallWarning", self.stallWarning ?? .seconds(1)),
            ] {
                try require(
                    time > .zero && time <= Self.longestTimeout,
                    "\(name) is \(time): it must be more than 0 and at most 36,500 days"
                )
            }
            try self.validateTexts()
        }

        /// Checks the fields of the `open` frame.
        private func validateTexts() throws(AMQPError) {
            if self.containerID?.isEmpty == true {
                let text = "containerID is empty: set a name, or nil for a generated one"
                throw AMQPError(condition: .invalidArgument, detail: text)
            }
            try CheckedText.check(self.containerID, "containerID")
            try CheckedText.check(self.virtualHost, "virtualHost")
            try CheckedText.check(self.properties, "properties")
            try CheckedText.check(self.offeredCapabilities, "offeredCapabilities: the symbol")
            try CheckedText.check(self.desiredCapabilities, "desiredCapabilities: the symbol")
        }

        /// The `idle-time-out` field holds 32 bits of milliseconds: 49.7 days. Source: AMQP 1.0 §2.7.1.
        private static let longestIdleTimeout = Duration.seconds(49 * 86_400)
        /// The longest timeout: far beyond any use, and far below the range of the loop's clock.
        private static let longestTimeout = Duration.seconds(36_500 * 86_400)
    }
}
