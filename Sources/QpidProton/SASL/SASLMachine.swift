// SPDX-License-Identifier: Apache-2.0

/// One side of a SASL exchange as a pure value, which turns received headers and frames into actions.
///
/// A thrown error ends the connection after the earlier actions.
protocol SASLMachine {
    /// Whether the peer's protocol header is still outstanding.
    var expectsHeader: Bool { get }
    /// Starts the exchange on a new connection.
    mutating func start(_ security: SASLTransportSecurity) throws(AMQPError) -> [SASLAction]
    /// Handles the peer's protocol header. `security` is current: TLS has received the peer's certificate now.
    mutating func receive(_ header: ProtocolHeader, _ security: SASLTransportSecurity) throws(AMQPError) -> [SASLAction]
    /// Handles a received frame.
    mutating func receive(_ frame: SASLFrame) throws(AMQPError) -> [SASLAction]
    /// Handles the answer of a ``SASLAction/check(_:)``.
    mutating func resume(_ step: SASLServerStep) throws(AMQPError) -> [SASLAction]
}

/// An action for the handler.
enum SASLAction: Sendable {
    case sendHeader
    case send(SASLFrame)
    /// Run this function outside the event loop, and pass its answer to the machine.
    case check(@Sendable () async -> SASLServerStep)
    /// The SASL layer is complete, and the following bytes are for the next handler. If the peer uses no SASL layer,
    /// these bytes start with its AMQP header.
    case complete(AMQPAuthenticatedIdentity)
    case fail(AMQPError)
}

/// The most challenges or answers of a peer, so that an exchange ends; SCRAM needs two.
let maxSASLSteps = 16

/// Shortens names from a peer for a log or an error.
func shortened(_ names: [String]) -> String {
    if names.isEmpty { return "nothing" }
    let shown = names.prefix(10).map { $0.utf8.count > 20 ? "\($0.prefix(20))…" : $0 }.joined(separator: ", ")
    return names.count > 10 ? "\(shown) and \(names.count - 10) more" : shown
}

/// Returns the error for a frame out of order.
func unexpectedFrame(_ frame: SASLFrame, _ expected: String?) -> AMQPError {
    AMQPError(
        scope: .connection,
        condition: .illegalState,
        detail: "the peer sent \(frame.name) " + (expected.map { "instead of \($0)" } ?? "out of turn")
    )
}
