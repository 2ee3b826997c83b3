// SPDX-License-Identifier: Apache-2.0

/// The rule by which a receiver grants credit.
enum CreditPolicy: Hashable, Sendable {
    /// The application grants it.
    case manual
    /// For at most this number of messages on their way to the application.
    case messages(Int)
    /// For at most this number of bytes, by the expected size of messages.
    case bytes(Int)
    /// For the number of messages that keeps the line busy, within this number of bytes.
    case automatic(Int)
    /// For one message, only while the application waits.
    case onDemand
    /// Without a limit.
    case unbounded
}
