// SPDX-License-Identifier: Apache-2.0

/// Decisions on their way to the socket, the tasks that wait for them, and ended receivers with such decisions.
///
/// Used on the event loop only.
struct DecisionWrites {
    /// An ended receiver with decisions in Proton's output or on their way to the socket.
    private struct EndingReceiver {
        let unsent: UnsentSettlements
        let unwritten: UnwrittenCounts
    }

    private var waits = WriteWaits()
    /// Ended receivers, until all their decisions are written or lost.
    private var ending: [EndingReceiver] = []
    /// Ended receivers whose messages the application still holds.
    private var ended = EndedReceivers()

    // MARK: Receivers that have ended

    /// Adds an ended receiver.
    ///
    /// - Parameter isDecided: Whether the application holds no message of the receiver.
    mutating func add(_ key: SlotKey, _ unsent: UnsentSettlements, _ unwritten: UnwrittenCounts, isDecided: Bool) {
        if !isDecided { self.ended.add(key, unsent) }
        self.ending.append(EndingReceiver(unsent: unsent, unwritten: unwritten))
    }

    /// Counts decisions about the messages of ended receivers.
    func settle(_ settlements: some Sequence<Settlement>) {
        var byReceiver: [SlotKey: [Settlement]] = [:]
        for settlement in settlements { byReceiver[settlement.receiver, default: []].append(settlement) }
        for (key, settlements) in byReceiver { self.ended[key]?.add(settlements) }
    }

    /// Returns the number of decisions about an ended receiver's messages that are still on their way to the socket.
    func unwritten(of unsent: UnsentSettlements, _ writes: WriteNumbers) -> Int {
        self.ending.first { $0.unsent === unsent }?.unwritten.left(writes) ?? 0
    }

    /// Reports the number of unwritten decisions of each receiver for which this number is final.
    ///
    /// - Parameter isDead: Whether no write follows the current writes.
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

    /// Answers tasks once the socket has accepted a write.
    ///
    /// - Parameter gone: The error that ended the connection; `nil` while it is open.
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

    /// Answers a task once the decision about an ended receiver's message is written.
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

    /// Answers the tasks that wait for writes up to `write`, which the socket has accepted.
    @inline(__always)
    mutating func finish(_ write: Int) {
        if !self.waits.isEmpty { self.waits.finish(write) }
    }

    /// Fails the waiting tasks once no write is in progress, because no other write follows.
    mutating func fail(_ error: AMQPError, _ writes: WriteNumbers) {
        if writes.isIdle { self.waits.fail(error) }
    }
}
