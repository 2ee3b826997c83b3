// SPDX-License-Identifier: Apache-2.0

/// The sizes of messages that a receiver accepts, in bytes.
struct ReceiverLimits {
    /// The largest message. No buffer can hold a larger message.
    private(set) var maxMessageSize = Int(Int32.max)
    /// The largest message that the receiver delivers whole.
    private(set) var largestWhole = Int(Int32.max)
    /// The max-message-size of the attach, in bytes; `nil` for no limit.
    private(set) var advertised: Int?

    init() {}

    /// Computes the limits of a receiver from its configuration and its memory.
    ///
    /// - Parameters:
    ///   - window: The window whose bytes limit a whole message.
    ///   - largest: The largest message that fits into the memory of the connection.
    init(_ configuration: AMQPReceiver.Configuration, _ window: CreditWindow, largest: Int) {
        // A message larger than the window's bytes could never be complete.
        let largest = min(window.largest ?? .max, largest)
        let whole = configuration.streamsMessages || largest == .max ? nil : largest
        self.advertised = [configuration.maxMessageSize?.bytes, whole].compactMap { $0 }.min()
        if let advertised = self.advertised { self.maxMessageSize = min(advertised, self.maxMessageSize) }
        self.largestWhole = min(self.maxMessageSize, largest)
        if configuration.streamsMessages, configuration.maxMessageSize == nil { self.maxMessageSize = .max }
    }
}
