// SPDX-License-Identifier: Apache-2.0

/// The client's side of SASL: header, mechanisms, init, challenges, outcome. Source: AMQP 1.0 §5.3.2.
struct SASLClientMachine: SASLMachine {
    private enum State {
        case header
        case mechanisms
        case outcome(any SASLClientMechanism, steps: Int)
        case done
    }

    private var state = State.header
    private let candidates: [any SASLClientMechanism]
    private let hostname: String?
    private let allowsPlainWithoutTLS: Bool

    /// Creates a machine before the exchange.
    ///
    /// - Parameter candidates: The mechanisms that may be used, best first.
    init(candidates: [any SASLClientMechanism], hostname: String?, allowsPlainWithoutTLS: Bool) {
        self.candidates = candidates
        self.hostname = hostname
        self.allowsPlainWithoutTLS = allowsPlainWithoutTLS
    }

    var expectsHeader: Bool {
        if case .header = self.state { true } else { false }
    }

    func start(_ security: SASLTransportSecurity) throws(AMQPError) -> [SASLAction] {
        // Check every candidate before the first byte, so that no server can make this side send the password.
        if !security.isConfidential && !self.allowsPlainWithoutTLS && self.candidates.contains(where: \.revealsPassword)
        {
            throw .passwordWithoutTLS
        }
        return [.sendHeader]
    }

    mutating func receive(
        _ header: ProtocolHeader,
        _ security: SASLTransportSecurity
    ) throws(AMQPError) -> [SASLAction] {
        guard header == .sasl else {
            let remedy = header == .plain ? "; set SASL to none if it needs no login" : ""
            let cause =
                header.isTLS
                ? "the server speaks TLS on this port: use amqps://"
                : "the server did not answer with the SASL header: it speaks \(header.explanation)\(remedy)"
            throw AMQPError(scope: .connection, condition: .connectionFramingError, detail: cause)
        }
        self.state = .mechanisms
        return []
    }

    mutating func receive(_ frame: SASLFrame) throws(AMQPError) -> [SASLAction] {
        switch (self.state, frame) {
        case (.mechanisms, .mechanisms(let offered)):
            guard var mechanism = self.candidates.first(where: { offered.contains($0.name) }) else {
                let usable = self.candidates.map(\.name).joined(separator: ", ")
                let remedy = Self.remedy(for: offered, self.candidates.map(\.name))
                throw AMQPError(
                    scope: .connection,
                    condition: .unauthorizedAccess,
                    detail:
                        "no SASL mechanism in common: the server offers \(shortened(offered)), and this side uses "
                        + "\(usable): \(remedy)"
                )
            }
            let response = try mechanism.initialResponse()
            self.state = .outcome(mechanism, steps: 0)
            return [.send(.initialise(mechanism: mechanism.name, response: response, hostname: self.hostname))]
        case (.outcome(var mechanism, let steps), .challenge(let challenge)):
            guard steps < maxSASLSteps else {
                throw AMQPError(
                    scope: .connection,
                    condition: .illegalState,
                    detail: "the server sent more than \(maxSASLSteps) SASL challenges"
                )
            }
            let response = try mechanism.response(to: challenge)
            self.state = .outcome(mechanism, steps: steps + 1)
            return [.send(.response(response))]
        case (.outcome(var mechanism, _), .outcome(let code, let additionalData)):
            self.state = .done
            if let error = Self.error(for: code, mechanism.name) { throw error }
            try mechanism.finish(additionalData: additionalData)
            let identity = AMQPAuthenticatedIdentity(
                mechanism: mechanism.name,
                username: (mechanism as? SASLPlainClient)?.username
            )
            return [.complete(identity)]
        case (.mechanisms, _): throw unexpectedFrame(frame, "sasl-mechanisms")
        default: throw unexpectedFrame(frame, "sasl-challenge or sasl-outcome")
        }
    }

    mutating func resume(_ step: SASLServerStep) -> [SASLAction] { [] }

    /// Returns the remedy for a login without a common mechanism.
    private static func remedy(for offered: [String], _ used: [String]) -> String {
        if offered.contains("PLAIN"), !used.contains("PLAIN") { return "give a user and a password" }
        if offered.contains("ANONYMOUS"), used.contains("PLAIN") { return "leave out the user and the password" }
        return "change the login here, or the server's mechanisms"
    }

    private static func error(for code: SASLCode, _ mechanism: String) -> AMQPError? {
        let condition: AMQPCondition
        let text: String
        switch code {
        case .ok: return nil
        case .auth:
            condition = .unauthorizedAccess
            text = "the server refused the login with SASL \(mechanism) (auth): check the user and the password"
        case .sys:
            condition = .internalError
            text = "the server could not check the login with SASL \(mechanism) because of a fault of its own (sys)"
        case .sysPerm:
            condition = .internalError
            text = "the server cannot check the login with SASL \(mechanism) until it is repaired (sys-perm)"
        case .sysTemp:
            condition = .internalError
            text = "the server cannot check the login with SASL \(mechanism) for now (sys-temp): try again later"
        }
        return AMQPError(scope: .connection, condition: condition, detail: text, origin: .peer)
    }
}
