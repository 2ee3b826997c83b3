// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

extension AMQPSender {
    /// Returns the options of a message, or `nil` if all have their defaults. Throws for an unusable option.
    @inline(__always)
    func choice(_ options: AMQPSendOptions) throws(AMQPError) -> SendChoice? {
        if options.areDefault { return nil }
        try options.validate()
        return SendChoice(options, lane: self.lane, now: self.session.connection.parts.channel.eventLoop.now)
    }
}
