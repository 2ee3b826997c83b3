// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// The tasks that wait for settlements of one receiver's deliveries, by the deliveries' sequence. Usually empty.
struct SettlementWaits {
    private var replies: [UInt64: [Reply<AMQPSettlementResult>]] = [:]

    var isEmpty: Bool { self.replies.isEmpty }

    mutating func add(_ sequence: UInt64, _ reply: Reply<AMQPSettlementResult>) {
        self.replies[sequence, default: []].append(reply)
    }

    mutating func take(_ sequence: UInt64) -> [Reply<AMQPSettlementResult>] {
        self.replies.removeValue(forKey: sequence) ?? []
    }
}

/// The tasks that wait for a write, in the order of the writes.
struct WriteWaits {
    private var replies: Deque<(write: Int, reply: Reply<AMQPSettlementResult>)> = []

    var isEmpty: Bool { self.replies.isEmpty }

    mutating func add(_ write: Int, _ reply: Reply<AMQPSettlementResult>) {
        // A late call may wait for an earlier write.
        let place = self.replies.lastIndex { $0.write <= write }.map { $0 + 1 } ?? 0
        self.replies.insert((write, reply), at: place)
    }

    /// Answers the tasks that wait for writes up to `write`, which the socket has accepted.
    mutating func finish(_ write: Int) {
        while let first = self.replies.first, first.write <= write {
            self.replies.removeFirst().reply.resolve(.success(.settled))
        }
    }

    /// Answers all tasks with a settlement in doubt, because no further write follows.
    mutating func fail(_ error: AMQPError) {
        for (_, reply) in self.replies { reply.resolve(.success(.inDoubt(error))) }
        self.replies = []
    }
}

extension ConnectionHandler {
    /// Answers tasks once the socket has accepted a write.
    func answer(_ replies: [Reply<AMQPSettlementResult>], afterWrite write: Int) {
        self.decisionWrites.answer(replies, afterWrite: write, self.writes, gone: self.isDead ? self.gone : nil)
    }
}
