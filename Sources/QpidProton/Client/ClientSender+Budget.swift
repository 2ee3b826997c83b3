// SPDX-License-Identifier: Apache-2.0

// The room for a sender's messages: first within the replay limit, then within the send budget of the connections.
//
// A message counts once in the budget, from its acceptance to its fate. The links of the sender are prepaid, so they
// do not count it again.

extension ClientSender {
    /// Reserves room for a message. Returns false if there is none.
    ///
    /// - Parameter reply: The first waiting task; `nil` for a task that does not wait yet. If the budget refuses the
    ///   message of a waiting task, it calls the sender back in its turn.
    func reserve(_ bytes: Int, _ state: inout State, for reply: Reply<AMQPClient.Tracker>? = nil) -> Bool {
        guard state.queue.hasRoom(for: bytes) else { return false }
        guard state.share?.tryReserve(Queue.charge(bytes), isWaiting: reply != nil) == false else {
            state.refused = nil
            return true
        }
        state.refused = reply
        return false
    }

    /// Drops the oldest unsent messages to reserve room for a message. Drops none if their room does not suffice.
    func replaceOldest(_ bytes: Int, _ state: inout State) -> Bool {
        let (charge, before) = (Queue.charge(bytes), state.queue.used)
        state.queue.dropOldest(for: bytes, freeing: state.share?.shortage(charge) ?? 0)
        guard state.queue.hasRoom(for: bytes) else { return false }
        self.returnBytes(&state)
        return state.share?.exchange(before - state.queue.used, for: charge) ?? true
    }

    /// Returns the bytes of finished messages to the budget, and the turn of a task that no longer waits.
    func returnBytes(_ state: inout State) {
        guard let held = state.share?.held else { return }
        if held > state.queue.used { state.share?.release(held - state.queue.used) }
        guard let refused = state.refused, state.waiting.first?.reply !== refused else { return }
        state.refused = nil
        state.share?.withdraw()
    }
}
