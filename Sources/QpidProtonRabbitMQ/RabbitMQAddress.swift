// SPDX-License-Identifier: Apache-2.0

public import QpidProton

/// The addresses of RabbitMQ 4 (version 2), with percent-encoded names.
///
/// Use them in `AMQPSession.openSender(to:)`, `AMQPSession.openReceiver(from:)`, and the `to` of messages on the
/// anonymous terminus. Source: RabbitMQ's guide "AMQP 1.0", target and source address version 2.
public enum RabbitMQAddress {
    /// Returns the address of a queue to send to or receive from: `/queues/` and its name.
    ///
    /// - Parameter name: The unencoded name; `a/b` becomes `/queues/a%2Fb`.
    public static func queue(_ name: String) -> String {
        "/queues/\(self.encoded(name))"
    }

    /// Returns the address of an exchange to send to: `/exchanges/`, its name, and the routing key if there is one.
    ///
    /// - Parameters:
    ///   - name: The unencoded name.
    ///   - key: The unencoded routing key of all messages; empty for no key.
    public static func exchange(_ name: String, key: String = "") -> String {
        key.isEmpty
            ? "/exchanges/\(self.encoded(name))"
            : "/exchanges/\(self.encoded(name))/\(self.encoded(key))"
    }

    /// Percent-encodes a text: all UTF-8 bytes except ASCII letters, digits and `-._~`. Source: RFC 3986 §2.1.
    ///
    /// - Parameter text: The unencoded text.
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
    /// Returns the source for a stream of RabbitMQ 4.
    ///
    /// - Parameters:
    ///   - name: The unencoded name of the stream.
    ///   - offset: The position in the stream where the receiver starts.
    public static func rabbitMQStream(_ name: String, from offset: AMQPStreamOffset) -> Self {
        Self(address: RabbitMQAddress.queue(name), filters: [.streamOffset(offset)])
    }
}
