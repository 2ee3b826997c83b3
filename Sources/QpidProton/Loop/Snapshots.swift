// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import Synchronization

extension AMQPConnectionSnapshot {
    init(_ handler: ConnectionHandler) {
        let ledger = handler.outbox.ledger(handler.node)
        let writer = handler.writer
        let budget = handler.configuration.sendBudget
        self.init(
            outgoing: AMQPFill(limit: ledger?.high, used: ledger?.used ?? 0, peak: ledger?.peak ?? 0),
            socket: AMQPFill(limit: SocketWriter.budget, used: writer.unwrittenBytes, peak: writer.unwrittenPeak),
            sendBudget: budget.map { AMQPFill(limit: $0.limit.bytes, used: $0.used.bytes, peak: $0.peak.bytes) },
            receiveBudget: handler.configuration.receiveBudget.map {
                AMQPFill(limit: $0.limit.bytes, used: $0.used.bytes, peak: $0.peak.bytes)
            },
            isReadingWithheld: handler.receiving.isReadingWithheld,
            sessions: handler.sessions.values.map(\.snapshot)
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

/// The figures of a link in a snapshot.
struct LinkFigures {
    var bytes = AMQPFill(limit: nil, used: 0, peak: 0)
    var messages = 0
    var unsettled = 0
}

extension LinkEndpoint {
    /// Returns the metadata of a log line about the link.
    func logMetadata(
        _ fields: KeyValuePairs<LogKey, Logger.MetadataValue> = [:],
        error: AMQPError? = nil
    ) -> Logger.Metadata {
        var metadata = Logger.Metadata.amqp(fields, error: error)
        metadata[LogKey.link.rawValue] = "\(self.status.name)"
        if let address = self.address { metadata[LogKey.address.rawValue] = "\(address)" }
        return metadata
    }

    /// The address of the terminus at the peer; `nil` if there is none, or once the link is freed.
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

extension LinkFigures {
    init(of sender: SenderEndpoint) {
        let ledger = sender.node.flatMap { sender.handler.outbox.ledger($0) }
        self.bytes = AMQPFill(limit: ledger?.high, used: ledger?.used ?? 0, peak: ledger?.peak ?? 0)
        self.messages = sender.lane?.waiting.count ?? 0
        self.unsettled = sender.isDone ? 0 : sender.link.unsettledCount
    }

    init(of receiver: ReceiverEndpoint) {
        let streamed = receiver.status.streamedBytes.load(ordering: .relaxed)
        self.bytes = AMQPFill(
            limit: receiver.state.window.budget,
            used: (receiver.inbox?.weight ?? 0) + streamed,
            peak: max(receiver.inbox?.peakWeight ?? 0, receiver.status.bufferedBytesPeak.load(ordering: .relaxed))
        )
        self.messages = receiver.inbox?.count ?? 0
        self.unsettled = receiver.dispositions.queue.count
    }
}

extension AMQPBlockCause {
    /// Determines the cause that prevents the peer from sending; `nil` if there is none.
    init?(of receiver: ReceiverEndpoint) {
        // Otherwise the peer may send, its messages are on their way, or no task waits for on-demand credit.
        guard receiver.isLocallyOpen, receiver.state.isBlocked else { return nil }
        if receiver.account.isPaced {
            self = .rate
        } else if receiver.handler.receiving.budget.room == 0 {
            self = .memoryBudget
        } else {
            self = receiver.waitsForSettling ? .unsettled : .application
        }
    }
}
