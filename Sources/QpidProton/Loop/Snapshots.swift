internal import Logging
internal import Synchronization

extension ConnectionHandler {
    var snapshot: AMQPConnectionSnapshot {
        let ledger = self.outbox.ledger(self.node)
        let budget = self.configuration.sendBudget
        return AMQPConnectionSnapshot(
            outgoing: AMQPFill(limit: ledger?.high, used: ledger?.used ?? 0, peak: ledger?.peak ?? 0),
            socket: AMQPFill(limit: Self.writeBudget, used: self.unwrittenBytes, peak: self.unwrittenPeak),
            sendBudget: budget.map { AMQPFill(limit: $0.limit.bytes, used: $0.used.bytes, peak: $0.peak.bytes) },
            receiveBudget: self.configuration.receiveBudget.map {
                AMQPFill(limit: $0.limit.bytes, used: $0.used.bytes, peak: $0.peak.bytes)
            },
            isReadingWithheld: self.receiving.isReadingWithheld,
            sessions: self.sessions.values.map(\.snapshot)
        )
    }
}

extension SessionEndpoint {
    var snapshot: AMQPSessionSnapshot {
        let ledger = self.node.flatMap { self.handler.outbox.ledger($0) }
        let incoming = self.isDone ? 0 : self.session.incomingBytes
        return AMQPSessionSnapshot(
            outgoing: AMQPFill(limit: ledger?.high, used: ledger?.used ?? 0, peak: ledger?.peak ?? 0),
            incoming: AMQPFill(limit: self.incomingCapacity, used: incoming, peak: self.incomingPeak),
            protonOutgoingBytes: AMQPByteCount(self.isDone ? 0 : self.session.outgoingBytes),
            remoteIncomingWindow: self.peer?.window.available ?? 0,
            remoteOutgoingWindow: self.peer?.remoteOutgoingWindow,
            nextOutgoingID: self.peer?.window.nextOutgoingID ?? 0,
            nextIncomingID: self.peer?.nextIncomingID ?? 0,
            links: self.links.values.map { $0.snapshot(at: self.handler.now) }
        )
    }
}

/// What a link shows of itself.
struct LinkFigures {
    var bytes = AMQPFill(limit: nil, used: 0, peak: 0)
    var messages = 0
    var unsettled = 0
}

extension LinkEndpoint {
    /// The metadata of a log line about the link.
    func logMetadata(
        _ fields: KeyValuePairs<LogKey, Logger.MetadataValue> = [:],
        error: AMQPError? = nil
    ) -> Logger.Metadata {
        var metadata = Logger.Metadata.amqp(fields, error: error)
        metadata[LogKey.link.rawValue] = "\(self.status.name)"
        if let address = self.address { metadata[LogKey.address.rawValue] = "\(address)" }
        return metadata
    }

    /// The address of the terminus at the peer; nil where there is none, and once the link is freed.
    var address: String? {
        guard !self.isDone else { return nil }
        return self is SenderEndpoint
            ? self.link.target?.address
            : self.link.source?.address
    }

    func snapshot(at now: Int64) -> AMQPLinkSnapshot {
        let figures = self.figures
        return AMQPLinkSnapshot(
            name: self.status.name,
            address: self.address,
            isSender: self is SenderEndpoint,
            bytes: figures.bytes,
            messages: figures.messages,
            credit: self.status.credit.load(ordering: .relaxed),
            unsettled: figures.unsettled,
            blockedBy: self.blocks.cause,
            blockedFor: self.blocks.cause == nil ? .zero : .nanoseconds(now - self.blocks.since),
            blockedTimes: self.blocks.totals(at: now),
            droppedMessages: self.status.droppedMessages.load(ordering: .relaxed)
        )
    }
}

extension SenderEndpoint {
    var ownFigures: LinkFigures {
        let ledger = self.node.flatMap { self.handler.outbox.ledger($0) }
        return LinkFigures(
            bytes: AMQPFill(limit: ledger?.high, used: ledger?.used ?? 0, peak: ledger?.peak ?? 0),
            messages: self.lane?.waiting.count ?? 0,
            unsettled: self.isDone ? 0 : self.link.unsettledCount
        )
    }
}

extension ReceiverEndpoint {
    var ownFigures: LinkFigures {
        let streamed = self.status.streamedBytes.load(ordering: .relaxed)
        return LinkFigures(
            bytes: AMQPFill(
                limit: self.state.window.budget,
                used: (self.inbox?.weight ?? 0) + streamed,
                peak: max(self.inbox?.peakWeight ?? 0, self.status.bufferedBytesPeak.load(ordering: .relaxed))
            ),
            messages: self.inbox?.count ?? 0,
            unsettled: self.dispositions.queue.count
        )
    }

    /// Looks what keeps the peer from sending.
    func noteCause() {
        self.note(self.cause)
    }

    private var cause: AMQPBlockCause? {
        // The peer may send, or what it sends is on its way.
        guard self.isLocallyOpen, self.state.window.outstanding == 0, !self.state.window.isPaused else { return nil }
        // Nothing was granted, for nobody waits.
        if self.state.window.policy == .onDemand, self.state.window.held == 0 { return nil }
        if self.paceTimer != nil { return .rate }
        if self.handler.receiving.budget.room == 0 { return .memoryBudget }
        if self.waitsForSettling { return .unsettled }
        return .application
    }
}
