// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The five frames of a SASL exchange. Source: AMQP 1.0 §5.3.3.
enum SASLFrame: Hashable, Sendable {
    case mechanisms([String])
    case initialise(mechanism: String, response: [UInt8]?, hostname: String?)
    case challenge([UInt8])
    case response([UInt8])
    case outcome(SASLCode, additionalData: [UInt8]?)

    /// The frame's name in AMQP. Logs and errors show only this name, because the content may be a password.
    var name: String {
        switch self {
        case .mechanisms: "sasl-mechanisms"
        case .initialise: "sasl-init"
        case .challenge: "sasl-challenge"
        case .response: "sasl-response"
        case .outcome: "sasl-outcome"
        }
    }
}

/// The result of a SASL exchange. Source: AMQP 1.0 §5.3.3.6.
enum SASLCode: UInt8, Hashable, Sendable {
    case ok = 0
    case auth = 1
    case sys = 2
    case sysPerm = 3
    case sysTemp = 4
}

extension SASLFrame {
    /// The descriptor's numeric code: 0x40 to 0x44.
    var code: UInt8 {
        switch self {
        case .mechanisms: 0x40
        case .initialise: 0x41
        case .challenge: 0x42
        case .response: 0x43
        case .outcome: 0x44
        }
    }

    /// The descriptors as symbols, in the order of their codes.
    static let symbols = ["mechanisms", "init", "challenge", "response", "outcome"].map { "amqp:sasl-\($0):list" }

    /// Appends the whole frame, including its header.
    func write(into buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        // The header: the size, which is set later, a data offset of 2 words, type 1, and two unused bytes.
        buffer.writeInteger(UInt32(0))
        buffer.writeBytes([2, 1, 0, 0])
        buffer.writeBytes([0x00, 0x53, self.code, 0xd0])
        let list = buffer.writerIndex
        buffer.writeInteger(UInt64(0))
        let fields = self.writeFields(into: &buffer)
        buffer.setInteger(UInt32(buffer.writerIndex - list - 4), at: list)
        buffer.setInteger(UInt32(fields), at: list + 4)
        buffer.setInteger(UInt32(buffer.writerIndex - start), at: start)
    }

    private func writeFields(into buffer: inout ByteBuffer) -> Int {
        switch self {
        case .mechanisms(let names):
            buffer.writeInteger(UInt8(0xf0))
            let array = buffer.writerIndex
            buffer.writeInteger(UInt32(0))
            buffer.writeInteger(UInt32(names.count))
            buffer.writeInteger(UInt8(0xb3))
            for name in names {
                buffer.writeInteger(UInt32(name.utf8.count))
                buffer.writeString(name)
            }
            buffer.setInteger(UInt32(buffer.writerIndex - array - 4), at: array)
            return 1
        case .initialise(let mechanism, let response, let hostname):
            Self.write(mechanism.utf8, short: 0xa3, into: &buffer)
            Self.write(response, short: 0xa0, into: &buffer)
            Self.write(hostname?.utf8, short: 0xa1, into: &buffer)
            return 3
        case .challenge(let bytes), .response(let bytes):
            Self.write(bytes, short: 0xa0, into: &buffer)
            return 1
        case .outcome(let code, let additionalData):
            buffer.writeBytes([0x50, code.rawValue])
            guard let additionalData else { return 1 }
            Self.write(additionalData, short: 0xa0, into: &buffer)
            return 2
        }
    }

    /// Writes one binary, string or symbol. The code of the long form is the code of the short form plus 0x10.
    private static func write(_ bytes: (some Collection<UInt8>)?, short: UInt8, into buffer: inout ByteBuffer) {
        guard let bytes else {
            buffer.writeInteger(UInt8(0x40))
            return
        }
        if let count = UInt8(exactly: bytes.count) {
            buffer.writeBytes([short, count])
        } else {
            buffer.writeInteger(short + 0x10)
            buffer.writeInteger(UInt32(bytes.count))
        }
        buffer.writeBytes(bytes)
    }
}
