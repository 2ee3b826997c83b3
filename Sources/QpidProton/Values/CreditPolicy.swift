// SPDX-License-Identifier: Apache-2.0

/// The rule by which a receiver grants credit.
enum CreditPolicy: Hashable, Sendable {
    /// The application grants credit.
    case manual
    /// Credit for at most this number of messages on their way to the application.
    case messages(Int)
    /// Credit for at most this number of bytes, calculated with the expected size of messages.
    case bytes(Int)
    /// Credit for the number of messages that keeps the application busy, within this number of bytes.
    case automatic(Int)
    /// Credit for one message, only while the application waits.
    case onDemand
    /// Credit without a limit.
    case unbounded
}
