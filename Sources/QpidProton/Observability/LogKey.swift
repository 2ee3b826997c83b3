// SPDX-License-Identifier: Apache-2.0

internal import Logging

/// The keys of the log's metadata. `Observability.md` lists them; a test compares both lists.
enum LogKey: String, CaseIterable {
    /// The address of a link: the target's of a sender, the source's of a receiver.
    case address = "amqp.address"
    /// The raw value of the ``AMQPBlockCause`` that blocks a link.
    case cause = "amqp.cause"
    /// The condition of an error.
    case condition = "amqp.condition"
    /// The number of a connection, unique in the process.
    case connection = "amqp.connection"
    /// The container id of the peer, once the connection is open.
    case container = "amqp.container"
    /// The subject of a line, in words with numbers.
    case detail = "amqp.detail"
    /// An error in words.
    case error = "amqp.error"
    /// A frame as text; the name of a SASL frame.
    case frame = "amqp.frame"
    /// A limit that was exceeded, in bytes.
    case limit = "amqp.limit"
    /// The name of a link.
    case link = "amqp.link"
    /// The number of messages in a line.
    case messages = "amqp.messages"
    /// The host and port of the other side of the socket; in a client's lines its URL, without the password.
    case peer = "amqp.peer"
    /// The version of Proton-C whose headers the library was built with.
    case protonHeaders = "amqp.proton.headers"
    /// The version of Proton-C that the process has loaded.
    case protonLoaded = "amqp.proton.loaded"
    /// The version of Proton-C that the library is tested with.
    case protonTested = "amqp.proton.tested"
    /// The code of a SASL outcome.
    case saslCode = "amqp.sasl.code"
    /// The SASL mechanism in use.
    case saslMechanism = "amqp.sasl.mechanism"
    /// The SASL mechanisms that the server offers.
    case saslMechanisms = "amqp.sasl.mechanisms"
    /// How long a link has made no progress, or how long a client's connection was lost, in seconds.
    case seconds = "amqp.seconds"
    /// The size of a frame, in bytes.
    case size = "amqp.size"
    /// The number of a sender's unsent messages.
    case unsent = "amqp.unsent"
    /// The number of a sender's sent and unsettled messages.
    case unsettled = "amqp.unsettled"
}

extension Logger.Metadata {
    /// Creates metadata with the keys of this library. With an error, adds its condition and its text.
    static func amqp(
        _ fields: KeyValuePairs<LogKey, Logger.MetadataValue> = [:],
        error: AMQPError? = nil
    ) -> Logger.Metadata {
        var metadata: Logger.Metadata = [:]
        for (key, value) in fields { metadata[key.rawValue] = value }
        if let error {
            metadata[LogKey.condition.rawValue] = "\(error.condition)"
            metadata[LogKey.error.rawValue] = "\(error)"
        }
        return metadata
    }
}

extension Logger {
    /// The metadata value of a key in all lines of the logger.
    subscript(key: LogKey) -> Logger.MetadataValue? {
        get { self[metadataKey: key.rawValue] }
        set { self[metadataKey: key.rawValue] = newValue }
    }
}
