// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CodecMessages
import Foundation
import NIOCore
import QpidProton

struct Codec: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec",
        abstract: "Encodes a message, decodes it, and decodes it and reads every value, without a network."
    )

    enum Subject: String, ExpressibleByArgument { case message, map }

    @Argument var subject: Subject
    @Option var count: Int

    mutating func validate() throws {
        guard self.count > 0 else { throw ValidationError("--count takes 1 or more") }
    }

    func run() async throws {
        let message = self.subject == .message ? CodecMessages.message : CodecMessages.map
        let clock = ContinuousClock()
        var buffer = ByteBuffer()
        let encoding = try clock.measure {
            for _ in 0..<self.count {
                buffer.clear()
                try message.encode(into: &buffer)
            }
        }
        let decoding = try clock.measure {
            for _ in 0..<self.count { _ = try AMQPMessage(decoding: buffer) }
        }
        var read = 0
        let reading = try clock.measure {
            for _ in 0..<self.count { read += try CodecMessages.read(AMQPMessage(decoding: buffer)) ?? 0 }
        }
        guard read > 0 else { throw Failure("nothing was read") }
        var usage = Usage()
        usage.encodedBytes = buffer.readableBytes
        usage.encodeNs = encoding / .nanoseconds(1) / Double(self.count)
        usage.readNs = reading / .nanoseconds(1) / Double(self.count)
        usage.decodeNs = decoding / .nanoseconds(1) / Double(self.count)
        try usage.print()
    }
}
