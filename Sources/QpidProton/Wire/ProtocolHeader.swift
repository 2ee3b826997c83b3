// SPDX-License-Identifier: Apache-2.0

/// The first eight bytes of a peer. Source: AMQP 1.0 §2.2 and §5.3.1.
enum ProtocolHeader: Hashable, Sendable {
    /// `AMQP`, a protocol id, and a version.
    case amqp(id: UInt8, major: UInt8, minor: UInt8, revision: UInt8)
    /// Bytes that are not AMQP: the first of them, at most eight.
    case foreign([UInt8])

    static let sasl = Self.amqp(id: 3, major: 1, minor: 0, revision: 0)
    static let plain = Self.amqp(id: 0, major: 1, minor: 0, revision: 0)
    static let saslBytes: [UInt8] = Array("AMQP".utf8) + [3, 1, 0, 0]

    /// Whether the peer speaks TLS: an alert or a handshake. Source: RFC 8446 §5.1.
    var isTLS: Bool {
        if case .foreign(let bytes) = self { bytes.first == 0x15 || bytes.first == 0x16 } else { false }
    }

    /// The protocol that the peer seems to speak, for an error's text.
    var explanation: String {
        switch self {
        case .sasl: return "SASL 1.0"
        case .plain: return "AMQP 1.0 without a SASL layer"
        case .amqp(id: 2, _, _, _): return "AMQP 1.0 with TLS inside AMQP, which is not supported: use a TLS port"
        case .amqp(id: 0, major: 0, 9, _), .amqp(id: 1, _, _, _), .amqp(id: 0, major: 9, _, _):
            return "AMQP 0-9-1 or older, not AMQP 1.0"
        case .amqp(let id, let major, let minor, let revision):
            return "AMQP protocol \(id) version \(major).\(minor).\(revision), not 1.0.0"
        case .foreign where self.isTLS:
            return "TLS, and this side does not: both need amqps://, or neither"
        case .foreign(let bytes) where bytes.starts(with: "HTTP".utf8):
            return "HTTP: check the port"
        case .foreign: return "an unknown protocol: check the port"
        }
    }
}
