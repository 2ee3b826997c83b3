// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension AMQPSender {
    /// Returns the options of a message, where they differ from the default. Throws for a tag that no peer accepts.
    @inline(__always)
    func choice(_ options: AMQPSendOptions) throws(AMQPError) -> SendChoice? {
        if options.deliveryTag == nil, options.messageFormat == 0, options.expiresAfter == nil { return nil }
        try options.validate()
        return SendChoice(options, lane: self.lane, now: self.session.connection.parts.channel.eventLoop.now)
    }
}
