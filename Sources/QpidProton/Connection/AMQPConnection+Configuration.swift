public import NIOCore
internal import NIOPosix

extension AMQPConnection {
    /// What a connection is opened with.
    ///
    /// `connect` and `bind` check every field first. For a value that cannot be used they throw
    /// ``AMQPCondition/invalidArgument`` with the name of the field.
    public struct Configuration: Sendable {
        /// The name of this container, sent in the open; made up if nil. Not empty and without a zero byte.
        public var containerID: String?
        /// The `hostname` of the open, without a zero byte: the virtual host to use at the peer. Nil for the host of the URL.
        public var virtualHost: String?
        /// The largest frame that this side takes, in bytes: 512 at least, never unlimited.
        ///
        /// Source: AMQP 1.0 §2.7.1, `pn_transport_set_max_frame`.
        public var maxFrameSize: AMQPByteCount = .kibibytes(64)
        /// The highest channel number: one less than the number of sessions, 32,767 at most.
        public var channelMax: UInt16 = 1_023
        /// How long the peer may be silent before the connection ends: 60 s by default, from 4 ms to 49 days; nil for no limit.
        ///
        /// The open announces half of it, and the peer sends empty frames when it has nothing else. This side does the same.
        /// Source: AMQP 1.0 §2.4.5.
        public var idleTimeout: Duration? = .seconds(60)
        /// How long finding the host's addresses and connecting to one of them may take; 10 s by default, 36,500 days at most.
        public var connectTimeout: Duration = .seconds(10)
        /// How long TLS, SASL and the open together may take; 10 s by default, 36,500 days at most.
        public var openTimeout: Duration = .seconds(10)
        /// How long the peer may take to answer a begin, attach, detach, end, close or drain; 30 s by default, 36,500 days at most.
        public var operationTimeout: Duration = .seconds(30)
        /// Properties of the connection, told to the peer.
        public var properties: AMQPMap = [:]
        /// What this side can do beyond the standard.
        public var offeredCapabilities: [AMQPSymbol] = []
        /// What the peer is asked to do beyond the standard.
        public var desiredCapabilities: [AMQPSymbol] = []
        /// How to log in. The user and password of a URL are used by `.automatic`.
        public var sasl: AMQPSASL = .automatic
        /// TLS with `amqps`; its defaults verify the peer against the system's roots.
        public var tls = AMQPTLS()
        /// Whether sessions and links that the peer begins go to ``AMQPConnection/incoming``; they are refused otherwise.
        public var acceptsIncoming = false
        /// How many sessions and links of the peer may wait to be taken from ``AMQPConnection/incoming``, 1 to 1,048,576.
        public var incomingLimit = 1_024
        /// How many links the peer may have attached of itself at once, 1 to 32,768; it gets
        /// ``AMQPCondition/resourceLimitExceeded`` in the detach of each further one.
        ///
        /// A link that is refused counts until the peer has detached it too. A peer that attaches links beside those, as
        /// many as this and ``incomingLimit`` together and without waiting for an answer, loses the connection. Sessions are
        /// limited by ``channelMax``.
        public var incomingLinkLimit = 4_096
        /// The part of what is sent that senders of lower priorities get while one of a higher priority could use all: 0 for
        /// none, so that they may wait for ever, to 0.5.
        public var lowPriorityShare = 0.05
        /// The bytes that may be accepted on all senders of the connection together and not yet written to the socket; nil for
        /// the limits of the sessions and links alone.
        public var sendLimit: AMQPSendLimit?
        /// Bytes that this connection shares with others that are given the same budget; nil for none.
        public var sendBudget: AMQPMemoryBudget?
        /// Bytes of messages that have come and hold memory, which any number of connections share; nil for none.
        ///
        /// They count from their arrival until they give their place in their receiver's window back: see
        /// ``AMQPReceiver/Configuration/creditReturn``. When the budget has fallen short credit is withheld, then the
        /// sessions' windows, and as the last resort the socket is not read. A message that cannot fit, and is not
        /// streamed, closes its link with ``AMQPCondition/linkMessageSizeExceeded``.
        public var receiveBudget: AMQPMemoryBudget?
        /// A link that has something to move and moves nothing for so long is told in one warning, which names the cause; nil
        /// for none.
        public var stallWarning: Duration? = .seconds(30)
        /// How the connection reports to swift-metrics; nil for not at all.
        public var metrics: AMQPMetrics?
        /// Logs every frame as it is on the wire, at trace level; false by default.
        ///
        /// Both directions are logged, heartbeats included: channel, performative, fields, and the size of the payload.
        /// Messages and SASL frames are not shown.
        public var tracesFrames = false
        /// The event loops that connections run on: a `MultiThreadedEventLoopGroup`, or one of its loops.
        public var eventLoopGroup: any EventLoopGroup {
            get { self.loops.value }
            set { self.loops.value = newValue }
        }
        private var loops = Unshown<any EventLoopGroup>(value: MultiThreadedEventLoopGroup.singleton)

        /// Makes a configuration of the defaults.
        public init() {}

        func validate() throws(AMQPError) {
            func require(_ condition: Bool, _ text: String) throws(AMQPError) {
                if !condition { throw AMQPError(condition: .invalidArgument, detail: text) }
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
            try self.sendLimit?.validate()
            try self.metrics?.validate()
            if let budget = self.receiveBudget {
                try require(
                    budget.limit >= .mebibytes(1),
                    "receiveBudget is \(budget.limit): 1 MiB is the least, for what one read of a socket brings is a part of it"
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

        /// Checks what goes into the open.
        private func validateTexts() throws(AMQPError) {
            if self.containerID?.isEmpty == true {
                let text = "containerID is empty: give a name, or nil for one that is made"
                throw AMQPError(condition: .invalidArgument, detail: text)
            }
            try ProtonText.check(self.containerID, "containerID")
            try ProtonText.check(self.virtualHost, "virtualHost")
            try ProtonText.check(self.properties, "properties")
            try ProtonText.check(self.offeredCapabilities, "offeredCapabilities: the symbol")
            try ProtonText.check(self.desiredCapabilities, "desiredCapabilities: the symbol")
        }

        /// The `idle-time-out` of the open holds 32 bits of milliseconds: 49.7 days. Source: AMQP 1.0 §2.7.1.
        private static let longestIdleTimeout = Duration.seconds(49 * 86_400)
        /// Far beyond any use, and far from the end of the loop's clock.
        private static let longestTimeout = Duration.seconds(36_500 * 86_400)
    }
}
