// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// The commands of tasks. A command finds its object by the key. If the object has ended, the command fails with the
// cause.

extension SlotMap<SessionEndpoint> {
    subscript(status: SessionStatus) -> SessionEndpoint? { self[status.key] }

    func sender(_ status: LinkStatus) -> SenderEndpoint? {
        self[status.key.session]?.links[status.key.link] as? SenderEndpoint
    }

    func receiver(_ status: LinkStatus) -> ReceiverEndpoint? {
        self[status.key.session]?.links[status.key.link] as? ReceiverEndpoint
    }
}

/// The executor of the tasks' commands, on the event loop.
struct CommandRunner {
    let handler: ConnectionHandler

    func perform(_ command: Command) {
        switch command {
        case .connection(let command): self.perform(command)
        case .session(let status, let command):
            guard let session = self.handler.sessions[status] else { return command.fail(self.gone(status)) }
            self.perform(command, on: session)
        case .sender(let status, let command):
            guard let sender = self.handler.sessions.sender(status) else { return command.fail(self.gone(status)) }
            sender.perform(command)
        case .receiver(let status, let command):
            guard let receiver = self.handler.sessions.receiver(status) else { return command.fail(self.gone(status)) }
            receiver.perform(command)
        }
    }

    private func gone(_ status: SessionStatus) -> AMQPError {
        self.handler.ended.cause ?? status.goneError
    }

    private func gone(_ status: LinkStatus) -> AMQPError {
        status.endError ?? AMQPError(scope: .link, condition: .closed, detail: "the link is not open")
    }

    private func perform(_ command: ConnectionCommand) {
        switch command {
        case .close(let error): self.handler.close(error)
        case .run(let request, let limit, let call): TimedClose.run(request, within: limit, call, on: self.handler)
        case .openSession(let configuration, let timeout, let reply):
            EndpointOpener(handler: self.handler).openSession(configuration, within: timeout, reply)
        case .awaitSettlement(let settler, let slot, let sequence, let reply):
            self.awaitSettlement(settler, slot, sequence, reply)
        case .snapshot(let reply): reply.resolve(.success(AMQPConnectionSnapshot(self.handler)))
        case .observeFlow(let continuation, let shortest, let link):
            self.handler.watch.subscribe(continuation, after: shortest, link: link)
        case .endObservingFlow(let id): self.handler.watch.unsubscribe(id)
        case .receiveBudgetHasRoom: self.handler.receiving.hasRoom()
        case .receiveBudgetIsReadable: self.handler.receiving.update()
        }
    }

    /// Answers a task once the settlement of a delivery has a result.
    private func awaitSettlement(
        _ settler: Settler,
        _ slot: SlotKey,
        _ sequence: UInt64,
        _ reply: Reply<AMQPSettlementResult>
    ) {
        let handler = self.handler
        if let receiver = handler.receivers[settler.receiver] {
            receiver.dispositions.answer(reply, whenSettled: slot, sequence, on: receiver)
        } else {
            let gone = handler.isDead ? handler.gone : nil
            handler.decisionWrites.answer(reply, of: slot, settler.unsent, handler.writes, gone: gone)
        }
    }

    private func perform(_ command: SessionCommand, on session: SessionEndpoint) {
        switch command {
        case .close(let error): session.close(error)
        case .accept(let configuration, let reply): reply.resolve(session.accept(configuration))
        case .openSender(let configuration, let timeout, let reply):
            EndpointOpener(handler: self.handler).openSender(on: session, configuration, within: timeout, reply)
        case .openReceiver(let configuration, let timeout, let reply):
            EndpointOpener(handler: self.handler).openReceiver(on: session, configuration, within: timeout, reply)
        case .snapshot(let reply): reply.resolve(.success(session.snapshot))
        }
    }
}

extension SenderEndpoint {
    fileprivate func perform(_ command: SenderCommand) {
        switch command {
        case .close(let error): self.close(error)
        case .accept(let configuration, let reply): reply.resolve(self.accept(configuration))
        case .cancel(let message, let reply):
            self.cancel(message)
            reply.resolve(.success(()))
        case .abort(let message, let cause, let reply):
            self.abort(message, cause)
            reply.resolve(.success(()))
        case .makeRoom(let isAgain): self.makeRoom(isAgain: isAgain)
        case .setRate(let limit): self.setRate(limit)
        case .snapshot(let reply): reply.resolve(.success(self.lastSnapshot))
        }
    }
}

extension ReceiverEndpoint {
    fileprivate func perform(_ command: ReceiverCommand) {
        switch command {
        case .close(let error): self.close(error)
        case .accept(let configuration, let reply): reply.resolve(self.accept(configuration))
        case .grant(let credit): self.grant(credit)
        case .pause(let reply): self.drains.pause(reply)
        case .resume: self.drains.resume()
        case .drain(let reply, let timeout): self.drains.drain(reply, timeout: timeout)
        case .limitWait(let id, let timeout): self.drains.limitWait(id, timeout)
        case .read(let pieces, let sequence): self.streams?.read(pieces, of: sequence)
        case .discard(let sequence): self.streams?.discard(sequence)
        case .setRate(let limit): self.setRate(limit)
        case .snapshot(let reply): reply.resolve(.success(self.lastSnapshot))
        }
    }
}

extension SessionStatus {
    /// The error that ended the session.
    var goneError: AMQPError {
        self.ended.cause ?? AMQPError(scope: .session, condition: .closed, detail: "the session is closed")
    }
}
