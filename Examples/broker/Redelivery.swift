// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// Changes a message that a consumer returned as modified.
enum Redelivery {
    private static let headerCode: AMQPValue = .ulong(0x70)
    private static let headerName: AMQPValue = .symbol("amqp:header:list")

    /// Returns the message with the changes. Only the header is created again, unless annotations must be merged.
    static func apply(_ changes: AMQPModified, to payload: ByteBuffer) -> ByteBuffer {
        guard changes.deliveryFailed || !changes.messageAnnotations.isEmpty else { return payload }
        // An undecodable message stays unchanged, and its next consumer reports it too.
        return (try? self.changed(changes, payload)) ?? payload
    }

    private static func changed(_ changes: AMQPModified, _ payload: ByteBuffer) throws(AMQPError) -> ByteBuffer {
        guard changes.messageAnnotations.isEmpty else {
            var message = try AMQPMessage(decoding: payload)
            if changes.deliveryFailed { self.countFailure(&message.header) }
            for pair in changes.messageAnnotations { message.messageAnnotations[pair.key] = pair.value }
            return try message.encoded()
        }
        var rest = payload
        let front = try AMQPValue(decoding: &rest)
        let isHeader = front.describedValue.map { $0.descriptor == self.headerCode || $0.descriptor == self.headerName }
        var head = AMQPMessage()
        if isHeader == true {
            var section = payload
            let length = payload.readableBytes - rest.readableBytes
            if let bytes = section.readSlice(length: length) { head = try AMQPMessage(decoding: bytes) }
        } else {
            rest = payload
        }
        self.countFailure(&head.header)
        var result = try head.encoded()
        result.writeImmutableBuffer(rest)
        return result
    }

    private static func countFailure(_ header: inout AMQPHeader) {
        header.deliveryCount &+= header.deliveryCount == .max ? 0 : 1
        header.firstAcquirer = false
    }
}
