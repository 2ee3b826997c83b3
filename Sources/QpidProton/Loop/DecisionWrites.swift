/// Decisions on their way to the socket: tasks that wait for them, and those of receivers that have ended since.
///
/// It is used on the event loop alone.
struct DecisionWrites {
    /// A receiver that has ended, with decisions in Proton's output or on their way to the socket.
    private struct EndingReceiver {
        let unsent: UnsentSettlements
        let unwritten: UnwrittenCounts
    }

    private var waits = WriteWaits()
    /// Receivers that have ended, until all their decisions are written or lost.
    private var ending: [EndingReceiver] = []
    /// Receivers that have ended, and of which the application holds messages.
    private var ended = EndedReceivers()

    // MARK: Receivers that have ended

    /// A receiver has ended.
    ///
    /// - Parameter isDecided: Whether the application holds no message of it.
    mutating func add(_ key: SlotKey, _ unsent: UnsentSettlements, _ unwritten: UnwrittenCounts, isDecided: Bool) {
        if !isDecided { self.ended.add(key, unsent) }
        self.ending.append(EndingReceiver(unsent: unsent, unwritten: unwritten))
    }

    /// Counts decisions about the messages of receivers that have ended.
    func settle(_ settlements: some Sequence<Settlement>) {
        var byReceiver: [SlotKey: [Settlement]] = [:]
        for settlement in settlements { byReceiver[settlement.receiver, default: []].append(settlement) }
        for (key, settlements) in byReceiver { self.ended[key]?.add(settlements) }
    }

    /// The decisions about the messages of an ended receiver that are on their way to the socket still.
    func unwritten(of unsent: UnsentSettlements, _ writes: WriteNumbers) -> Int {
        self.ending.first { $0.unsent === unsent }?.unwritten.left(writes) ?? 0
    }

    /// Reports the decisions that were not written, of the receivers of which that is certain now.
    ///
    /// - Parameter isDead: Whether no write follows those that are on their way.
    @inline(__always)
    mutating func report(_ writes: WriteNumbers, isDead: Bool) {
        if !self.ending.isEmpty { self.reportEnding(writes, isOver: isDead && writes.isIdle) }
    }

    private mutating func reportEnding(_ writes: WriteNumbers, isOver: Bool) {
        var open: [EndingReceiver] = []
        for receiver in self.ending {
            let left = receiver.unwritten.left(writes)
            if left == 0 || isOver { receiver.unsent.complete(adding: left) } else { open.append(receiver) }
        }
        self.ending = open
    }

    // MARK: Tasks that wait

    /// Answers when the socket has taken a write.
    ///
    /// - Parameter gone: What ended the connection; `nil` while it lives.
    mutating func answer(
        _ replies: [Reply<AMQPSettlementResult>],
        afterWrite write: Int,
        _ writes: WriteNumbers,
        gone: AMQPError?
    ) {
        for reply in replies {
            if write <= writes.done {
                reply.resolve(.success(.settled))
            } else if let gone, writes.isIdle {
                reply.resolve(.success(.inDoubt(gone)))
            } else {
                self.waits.add(write, reply)
            }
        }
    }

    /// Answers when the decision about a message has left whose receiver has ended.
    mutating func answer(
        _ reply: Reply<AMQPSettlementResult>,
        of slot: SlotKey,
        _ unsent: UnsentSettlements,
        _ writes: WriteNumbers,
        gone: AMQPError?
    ) {
        guard unsent.wasTold(slot), let ending = self.ending.first(where: { $0.unsent === unsent }) else {
            return _ = reply.resolve(.success(unsent.result(of: slot)))
        }
        self.answer([reply], afterWrite: ending.unwritten.lastWrite, writes, gone: gone)
    }

    /// The socket has taken the writes up to this one.
    @inline(__always)
    mutating func finish(_ write: Int) {
        if !self.waits.isEmpty { self.waits.finish(write) }
    }

    /// No write will be taken any more, once none is on its way.
    mutating func fail(_ error: AMQPError, _ writes: WriteNumbers) {
        if writes.isIdle { self.waits.fail(error) }
    }
}
