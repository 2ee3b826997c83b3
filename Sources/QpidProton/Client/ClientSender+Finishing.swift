// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

// The fates that the queue decides, and deadlines.

extension ClientSender {
    /// Answers the messages whose fate the queue has decided.
    func takeFinished(_ state: inout State, _ work: inout Work) {
        for finished in state.queue.takeFinished() {
            let content = finished.entry.content
            work.resolved.append((content.promise, .failure(self.error(of: finished, state))))
            guard finished.cause == .ended else { continue }
            if finished.fate == .inDoubt {
                state.unfinished.inDoubt.append(content.promise.tracker)
            } else {
                state.unfinished.notSent.append(
                    AMQPUnfinished.Unsent(
                        payload: content.message.encoded,
                        options: content.message.options,
                        tracker: content.promise.tracker
                    )
                )
            }
        }
    }

    private func error(of finished: Queue.Finished, _ state: State) -> AMQPError {
        let loss = state.lastLoss ?? AMQPError(scope: .connection, condition: .connectionLost)
        switch finished.cause {
        case .lost: return loss.concerning(finished.fate)
        case .ended: return (state.end ?? loss).concerning(finished.fate)
        case .dropped:
            return .client(.dropped, "a newer message replaced it at the limit", scope: .delivery, fate: finished.fate)
        case .expired:
            let message = finished.entry.content.message
            let time = message.deadline.map { "\($0 - message.start)" } ?? "its time"
            let text = "the message expired: no byte was sent within \(time)"
            return .client(.expired, text, scope: .delivery, fate: finished.fate)
        case .poison(let losses):
            let text = "the message was the first in doubt of \(losses) losses in a row, and is not sent again: \(loss)"
            var error = AMQPError.client(.poison, text, scope: .delivery, fate: finished.fate)
            error.underlying = loss
            return error
        }
    }

    // MARK: Deadlines

    func expire(armed deadline: Duration) {
        self.change { state, work in
            guard state.armed == deadline else { return }
            state.armed = nil
            self.expire(&state, at: self.clock.now, &work)
        }
    }

    /// Finishes expired messages, and finds the next deadline.
    func expire(_ state: inout State, at now: Duration, _ work: inout Work) {
        var next = state.queue.expire(at: now)
        for waiting in state.waiting {
            guard let deadline = waiting.message.deadline else { continue }
            if deadline > now { next = min(next ?? deadline, deadline) }
        }
        state.waiting.removeAll { waiting in
            guard let deadline = waiting.message.deadline, deadline <= now else { return false }
            let text = "the message waited for \(deadline - waiting.message.start) for room"
            state.queue.refuse(.expired)
            work.admitted.append(
                (waiting.reply, .failure(.client(.expired, text, scope: .delivery, fate: .expired)))
            )
            return true
        }
        // At most one timer per 5 ms, because each timer has a cost.
        state.nextExpiry = next.map { max($0, now + .milliseconds(5)) }
    }
}
