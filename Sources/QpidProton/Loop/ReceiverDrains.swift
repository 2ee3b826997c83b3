// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

/// The drains and pauses of a receiver, and its waits with a timeout, which end with a drain.
///
/// In a drain, the peer uses its credit or returns it. All simultaneous calls share one drain.
final class ReceiverDrains {
    private unowned let receiver: ReceiverEndpoint
    /// The calls that wait for the end of the drain.
    private var replies: [Reply<Int>] = []
    /// The tasks of the inbox that wait for a message until a deadline.
    private var waits: [(id: UInt64, deadline: NIODeadline)] = []
    private var timer: LoopTimer?

    init(of receiver: ReceiverEndpoint) {
        self.receiver = receiver
    }

    // MARK: Draining

    /// Requests that the peer uses or returns all credit. The answer is the returned credit.
    ///
    /// - Parameter timeout: The time for the peer's answer; `operationTimeout` if `nil`.
    func drain(_ reply: Reply<Int>, timeout: Duration? = nil) {
        let receiver = self.receiver
        guard receiver.isLocallyOpen else {
            let error = receiver.status.endError
            reply.resolve(
                .failure(error ?? AMQPError(scope: .link, condition: .closed, detail: "the link is not open"))
            )
            return
        }
        self.replies.append(reply)
        let timeout = timeout ?? receiver.handler.configuration.operationTimeout
        let timer = LoopTimer(of: receiver.handler, in: timeout) { [unowned self] in
            let error = AMQPError(condition: .timeout, detail: "the peer did not answer the drain within \(timeout)")
            guard reply.resolve(.failure(error)) else { return }
            self.replies.removeAll { $0 === reply }
            if self.replies.isEmpty { self.giveUp() }
        }
        reply.whenResolved { _ in timer.cancel() }
        receiver.perform(receiver.state.requestDrain())
    }

    func perform(_ step: DrainStep) {
        let receiver = self.receiver
        switch step {
        case .none: break
        case .request:
            receiver.dispositions.proof.drains(receiver.handler.writes.next)
            receiver.link.drain()
        case .late(let credit):
            receiver.account.refund(credit)
            receiver.showCredit()
            receiver.topUp()
        case .end(let credit):
            // Messages that arrived before the answer must be visible before it.
            receiver.flushArrived()
            receiver.account.refund(receiver.state.takeCredit())
            self.end(credit)
        }
    }

    /// Ends a drain that the peer did not answer and for which no task waits any more.
    private func giveUp() {
        guard let credit = self.receiver.state.giveUpDrain() else { return }
        self.receiver.account.refund(credit)
        self.receiver.flushArrived()
        self.end(nil)
    }

    private func end(_ credit: Int?) {
        // Publish the credit before the answer, because the waiting task reads it.
        self.receiver.showCredit()
        if let credit { self.answer(.success(credit)) }
        if self.receiver.state.becomeQuiet() { self.receiver.stopping?.becameQuiet() }
        if self.receiver.state.endDrain() { self.grantAgain() }
    }

    private func answer(_ result: Result<Int, AMQPError>) {
        let replies = self.replies
        self.replies = []
        for reply in replies { reply.resolve(result) }
    }

    /// Grants withheld credit.
    private func grantAgain() {
        if self.receiver.isLocallyOpen { self.receiver.grantWithheld() }
        self.receiver.topUp()
    }

    // MARK: Pausing

    /// Withholds all credit, and makes the peer return its credit. Once the call is answered, no message is on its way.
    func pause(_ reply: Reply<Int>) {
        let receiver = self.receiver
        if receiver.isLocallyOpen {
            receiver.dispositions.sendAll(on: receiver)
            receiver.state.pause()
            receiver.status.isPaused.store(true, ordering: .relaxed)
        }
        self.drain(reply)
    }

    /// Withholds all credit from the start.
    func begin() {
        self.receiver.state.pause()
        self.receiver.status.isPaused.store(true, ordering: .relaxed)
    }

    func resume() {
        let receiver = self.receiver
        guard !receiver.state.purpose.isStopping else { return }
        let isOpen = receiver.state.resume()
        receiver.status.isPaused.store(false, ordering: .relaxed)
        guard receiver.isLocallyOpen else { return }
        if isOpen { self.grantAgain() }
        self.grantForWaits()
    }

    // MARK: Waits with a timeout

    /// Ends the wait of a `receive(timeout:)` at its timeout with a drain, so that no message is on its way.
    func limitWait(_ id: UInt64, _ timeout: Duration) {
        guard self.receiver.isLocallyOpen else { return }
        self.waits.removeAll { self.receiver.inbox?.isWaiting($0.id) != true }
        self.waits.append((id, self.receiver.handler.deadline(in: timeout)))
        self.grantForWaits()
        self.schedule()
    }

    /// Grants one credit for a wait with a timeout under manual credit, unless credit is outstanding.
    private func grantForWaits() {
        let state = self.receiver.state
        guard state.window.policy == .manual, !self.waits.isEmpty, state.purpose == .receiving,
            state.window.outstanding == 0, state.withheldCredit == 0
        else { return }
        self.receiver.grant(1)
    }

    private func schedule() {
        self.timer?.cancel()
        self.timer = nil
        guard self.receiver.isLocallyOpen, let next = self.waits.map(\.deadline).min() else { return }
        self.timer = LoopTimer(of: self.receiver.handler, at: next) { [unowned self] in
            let now = self.receiver.handler.eventLoop.now
            let due = self.waits.filter { $0.deadline <= now && self.receiver.inbox?.isWaiting($0.id) == true }
            self.waits.removeAll { $0.deadline <= now }
            for wait in due { self.endWait(wait.id) }
            self.schedule()
        }
    }

    private func endWait(_ id: UInt64) {
        let reply = Reply<Int>()
        reply.whenResolved { [inbox = self.receiver.inbox] answer in
            switch answer {
            case .success: inbox?.endWait(id, .success(nil))
            case .failure(let error): inbox?.endWait(id, .failure(error))
            }
        }
        self.drain(reply)
    }

    // MARK: The end of the link

    /// Cancels all waits for a drain.
    func cancelWaits() {
        self.timer?.cancel()
        self.waits = []
    }

    func end(_ cause: AMQPError) { self.answer(.failure(cause)) }
}
