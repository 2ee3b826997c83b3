/// What an application decided of one delivery, on its way to the loop.
struct Settlement: Sendable {
    let receiver: SlotKey
    let slot: SlotKey
    /// The delivery's place in the order of arrival, by which settlements are sorted so that ranges form.
    let sequence: UInt64
    let outcome: AMQPOutcome
    /// Whether every earlier delivery of the receiver that is not settled gets the same outcome.
    let includesEarlier: Bool
}
