public import QpidProton

/// Addresses of RabbitMQ 4 (version 2), with the names percent-encoded.
///
/// For `AMQPSession.openSender(to:)`, `AMQPSession.openReceiver(from:)`, and the `to` of messages on the anonymous terminus.
/// Source: RabbitMQ's guide "AMQP 1.0", target and source address version 2.
public enum RabbitMQAddress {
    /// A queue, to send to or to receive from: `/queues/` and its name.
    ///
    /// - Parameter name: The name as it is; `a/b` becomes `/queues/a%2Fb`.
    public static func queue(_ name: String) -> String {
        "/queues/\(self.encoded(name))"
    }

    /// An exchange, to send to: `/exchanges/`, its name, and the routing key if there is one.
    ///
    /// - Parameters:
    ///   - name: The name as it is.
    ///   - key: The routing key of all messages as it is; empty for none.
    public static func exchange(_ name: String, key: String = "") -> String {
        key.isEmpty
            ? "/exchanges/\(self.encoded(name))"
            : "/exchanges/\(self.encoded(name))/\(self.encoded(key))"
    }

    /// A text in percent-encoding: all but letters and digits of ASCII and `-._~` by its UTF-8 bytes. Source: RFC 3986 §2.1.
    ///
    /// - Parameter text: The text as it is.
    public static func encoded(_ text: String) -> String {
        var encoded = ""
        encoded.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                encoded += byte < 16 ? "%0" : "%"
                encoded += String(byte, radix: 16, uppercase: true)
            }
        }
        return encoded
    }
}

extension AMQPSource {
    /// A stream of RabbitMQ 4.
    ///
    /// - Parameters:
    ///   - name: The stream's name as it is.
    ///   - offset: Where in the stream the receiver begins.
    public static func rabbitMQStream(_ name: String, from offset: AMQPStreamOffset) -> Self {
        Self(address: RabbitMQAddress.queue(name), filters: [.streamOffset(offset)])
    }
}
