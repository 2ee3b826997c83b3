// SPDX-License-Identifier: Apache-2.0

/// The server's side of SASL: header, mechanisms, init, challenges, outcome. Source: AMQP 1.0 §5.3.2.
struct SASLServerMachine: SASLMachine {
    private enum State {
        case header
        case initialise([any SASLServerMechanism])
        case response(any SASLServerMechanism, steps: Int)
        case checking(any SASLServerMechanism, steps: Int)
        case done
    }

    private var state = State.header
    private let configuration: AMQPServerSASL

    init(configuration: AMQPServerSASL) {
        self.configuration = configuration
    }

    var expectsHeader: Bool {
        if case .header = self.state { true } else { false }
    }

    // The client sends first, and only then has TLS received its certificate.
    func start(_ security: SASLTransportSecurity) -> [SASLAction] { [] }

    mutating func receive(_ header: ProtocolHeader, _ security: SASLTransportSecurity) -> [SASLAction] {
        if header == .plain && self.configuration.letsInWithoutSASL {
            self.state = .done
            return [.complete(AMQPAuthenticatedIdentity(mechanism: nil, username: nil))]
        }
        guard header == .sasl else {
            // AMQP 1.0 §2.2: the answer to an unsupported header is a supported header and a close.
            self.state = .done
            return [.sendHeader, .fail(Self.headerError(header))]
        }
        let mechanisms = self.configuration.mechanisms(for: security)
        guard !mechanisms.isEmpty else {
            self.state = .done
            let error = AMQPError(
                scope: .connection,
                condition: .unauthorizedAccess,
                detail: "there is no SASL mechanism to offer to this client: use TLS, or set allowsPlainWithoutTLS, "
                    + "allowsAnonymous, or a password check"
            )
            return [.sendHeader, .send(.mechanisms([])), .fail(error)]
        }
        self.state = .initialise(mechanisms)
        return [.sendHeader, .send(.mechanisms(mechanisms.map(\.name)))]
    }

    mutating func receive(_ frame: SASLFrame) throws(AMQPError) -> [SASLAction] {
        switch (self.state, frame) {
        case (.initialise(let mechanisms), .initialise(let name, let response, _)):
            guard let mechanism = mechanisms.first(where: { $0.name.hasSameUTF8(as: name) }) else {
                return self.refuse("it requested the mechanism \(shortened([name])), which was not offered")
            }
            return try self.step(mechanism, response, steps: 0)
        case (.response(let mechanism, let steps), .response(let response)):
            return try self.step(mechanism, response, steps: steps + 1)
        case (.initialise, _): throw unexpectedFrame(frame, "sasl-init")
        case (.response, _): throw unexpectedFrame(frame, "sasl-response")
        default: throw unexpectedFrame(frame, nil)
        }
    }

    mutating func resume(_ step: SASLServerStep) throws(AMQPError) -> [SASLAction] {
        guard case .checking(let mechanism, let steps) = self.state else { return [] }
        if case .check = step { return self.refuse("its mechanism requested a second check in a row") }
        return try self.act(on: step, mechanism, steps: steps)
    }

    private mutating func step(
        _ mechanism: any SASLServerMechanism,
        _ response: [UInt8]?,
        steps: Int
    ) throws(AMQPError) -> [SASLAction] {
        guard steps <= maxSASLSteps else {
            throw AMQPError(
                scope: .connection,
                condition: .illegalState,
                detail: "the client needs more than \(maxSASLSteps) SASL steps"
            )
        }
        var mechanism = mechanism
        let step = mechanism.step(response)
        return try self.act(on: step, mechanism, steps: steps)
    }

    private mutating func act(
        on step: SASLServerStep,
        _ mechanism: any SASLServerMechanism,
        steps: Int
    ) throws(AMQPError) -> [SASLAction] {
        switch step {
        case .challenge(let challenge):
            self.state = .response(mechanism, steps: steps)
            return [.send(.challenge(challenge))]
        case .accept(let username, let additionalData):
            self.state = .done
            let identity = AMQPAuthenticatedIdentity(mechanism: mechanism.name, username: username)
            return [
                .send(.outcome(.ok, additionalData: additionalData)),
                .complete(identity),
            ]
        case .refuse(let reason):
            return self.refuse(reason)
        case .check(let check):
            self.state = .checking(mechanism, steps: steps)
            return [.check(check)]
        }
    }

    private mutating func refuse(_ reason: String) -> [SASLAction] {
        self.state = .done
        let error = AMQPError(
            scope: .connection,
            condition: .unauthorizedAccess,
            detail: "login refused: \(reason)"
        )
        return [.send(.outcome(.auth, additionalData: nil)), .fail(error)]
    }

    private static func headerError(_ header: ProtocolHeader) -> AMQPError {
        if header == .plain {
            return AMQPError(
                scope: .connection,
                condition: .unauthorizedAccess,
                detail: "the client omitted the SASL layer, but this listener requires a login (see allowsNoSASL)"
            )
        }
        return AMQPError(
            scope: .connection,
            condition: .connectionFramingError,
            detail: "the client did not start with the SASL or the AMQP header: it speaks \(header.explanation)"
        )
    }
}
