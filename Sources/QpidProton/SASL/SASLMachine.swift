/// One side of a SASL exchange as a pure value: it is told what came, and says what to do.
///
/// A thrown error ends the connection after the actions that came before it.
protocol SASLMachine {
    /// Whether the peer's protocol header has yet to come.
    var expectsHeader: Bool { get }
    /// The connection is there.
    mutating func start(_ security: SASLTransportSecurity) throws(AMQPError) -> [SASLAction]
    /// The peer's protocol header came. `security` is fresh: by now TLS knows the peer's certificate.
    mutating func receive(_ header: ProtocolHeader, _ security: SASLTransportSecurity) throws(AMQPError) -> [SASLAction]
    /// A frame came.
    mutating func receive(_ frame: SASLFrame) throws(AMQPError) -> [SASLAction]
    /// A ``SASLAction/check(_:)`` has its answer.
    mutating func resume(_ step: SASLServerStep) throws(AMQPError) -> [SASLAction]
}

/// What the handler is to do.
enum SASLAction: Sendable {
    case sendHeader
    case send(SASLFrame)
    /// Run this outside the event loop, and give the machine its answer.
    case check(@Sendable () async -> SASLServerStep)
    /// The SASL layer is done, and what follows on the connection is for the next handler: a header too, where it is
    /// the answer to a header and so the peer has used no SASL layer.
    case complete(AMQPAuthenticatedIdentity)
    case fail(AMQPError)
}

/// Bounds a peer that never ends its challenges or answers: SCRAM needs two.
let maxSASLSteps = 16

/// Names from a peer for a log or an error: few, and short.
func shortened(_ names: [String]) -> String {
    if names.isEmpty { return "nothing" }
    let shown = names.prefix(10).map { $0.utf8.count > 20 ? "\($0.prefix(20))…" : $0 }.joined(separator: ", ")
    return names.count > 10 ? "\(shown) and \(names.count - 10) more" : shown
}

/// The error for a frame that may not come now.
func unexpectedFrame(_ frame: SASLFrame, _ expected: String) -> AMQPError {
    AMQPError(
        scope: .connection,
        condition: .illegalState,
        detail: "The peer sent \(frame.name) where \(expected) was due."
    )
}
