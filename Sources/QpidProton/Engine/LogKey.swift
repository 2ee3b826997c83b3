/// The keys of the log's metadata.
enum LogKey {
    /// The name of a link.
    static let link = "amqp.link"
    /// An error, or what ended something.
    static let error = "amqp.error"
    /// How many messages a line is about.
    static let messages = "amqp.messages"
}
