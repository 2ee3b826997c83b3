// What `dump`, `Mirror` and debuggers are shown: never the inside, which event loops change while they look at it, and
// which may hold a password.

internal import NIOCore

extension AMQPConnection: CustomReflectable {
    /// The peer, the identity and the error.
    public var customMirror: Mirror {
        Mirror(self, children: ["peer": self.peer, "identity": self.identity as Any, "error": self.error as Any])
    }
}

extension AMQPConnection.Configuration: CustomReflectable {
    /// The settings without the event loops.
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "containerID": self.containerID as Any, "virtualHost": self.virtualHost as Any,
                "maxFrameSize": self.maxFrameSize, "channelMax": self.channelMax,
                "idleTimeout": self.idleTimeout as Any, "connectTimeout": self.connectTimeout,
                "openTimeout": self.openTimeout, "operationTimeout": self.operationTimeout,
                "properties": self.properties, "offeredCapabilities": self.offeredCapabilities,
                "desiredCapabilities": self.desiredCapabilities, "sasl": self.sasl, "tls": self.tls,
                "acceptsIncoming": self.acceptsIncoming, "incomingLimit": self.incomingLimit,
                "lowPriorityShare": self.lowPriorityShare, "sendLimit": self.sendLimit as Any,
                "sendBudget": self.sendBudget as Any, "receiveBudget": self.receiveBudget?.limit as Any,
                "stallWarning": self.stallWarning as Any,
                "tracesFrames": self.tracesFrames,
            ]
        )
    }
}

extension AMQPMemoryBudget: CustomReflectable {
    /// The limit and what is used of it.
    public var customMirror: Mirror {
        Mirror(self, children: ["limit": self.limit, "low": self.low, "used": self.used, "peak": self.peak])
    }
}

extension AMQPListener: CustomReflectable {
    /// The port.
    public var customMirror: Mirror { Mirror(self, children: ["port": self.port]) }
}

extension AMQPSession: CustomReflectable {
    /// The bytes and the error.
    public var customMirror: Mirror {
        Mirror(self, children: ["outgoingBytes": self.outgoingBytes, "error": self.error as Any])
    }
}

extension AMQPSender: CustomReflectable {
    /// The name, the target, the credit and the error.
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "name": self.name, "remoteTarget": self.remoteTarget, "credit": self.credit,
                "error": self.error as Any,
            ]
        )
    }
}

extension AMQPReceiver: CustomReflectable {
    /// The name, the source, the credit, whether it is paused, and the error.
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "name": self.name, "remoteSource": self.remoteSource, "credit": self.credit,
                "isPaused": self.isPaused, "error": self.error as Any,
            ]
        )
    }
}

extension AMQPDelivery: CustomReflectable {
    /// The tag and the size.
    public var customMirror: Mirror {
        Mirror(self, children: ["tag": self.tag, "bytes": self.payload.readableBytes])
    }
}

extension AMQPTracker: CustomReflectable {
    /// The result.
    public var customMirror: Mirror { Mirror(self, children: ["result": self.result as Any]) }
}

extension AMQPIncomingSession: CustomReflectable {
    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension AMQPIncomingReceiver: CustomReflectable {
    /// What the peer asks for.
    public var customMirror: Mirror { Mirror(self, children: ["attach": self.attach]) }
}

extension AMQPIncomingSender: CustomReflectable {
    /// What the peer asks for.
    public var customMirror: Mirror { Mirror(self, children: ["attach": self.attach]) }
}
