/// How a receiver's credit is made.
enum CreditPolicy: Hashable, Sendable {
    /// The application grants it by hand.
    case manual
    /// At most that many messages are on their way to the application.
    case messages(Int)
    /// At most that many bytes are, by the size that messages are expected to have.
    case bytes(Int)
    /// As many messages as are worth while, within that many bytes.
    case automatic(Int)
    /// One at a time, and only while the application waits.
    case onDemand
    /// As much as the peer can use.
    case unbounded
}
