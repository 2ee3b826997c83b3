// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The options of messages that have not begun to leave.
@Suite struct SendChoicesTests {
    private let lane = SlotKey(bitPattern: 5)

    private func choice(_ options: AMQPSendOptions) -> SendChoice {
        SendChoice(options, lane: self.lane, now: .uptimeNanoseconds(0))
    }

    private func message() -> PendingMessage {
        var message = singleMessage(1)
        message.hasChoice = true
        return message
    }

    private func time(_ seconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .seconds(seconds) }

    @Test func onlyATagOrAFormatIsVisible() {
        var choices = SendChoices()
        for (options, isVisible) in [
            (AMQPSendOptions(expiresAfter: .seconds(1)), false), (AMQPSendOptions(deliveryTag: [1]), true),
            (AMQPSendOptions(messageFormat: 1), true), (AMQPSendOptions(), false),
        ] {
            var mail: [UInt: SendChoice] = [7: self.choice(options)]
            let isShown = choices.keep(&mail)
            #expect(isShown == isVisible && mail.isEmpty)
        }
        #expect(choices.count == 1)
    }

    @Test func theOptionsOfAMessageAreReturnedOnce() throws {
        let messages = [self.message(), self.message(), self.message(), singleMessage(1)]
        defer { for message in messages { message.fail(.cancelled) } }
        var choices = SendChoices()
        var mail: [UInt: SendChoice] = [:]
        for message in messages { mail[message.outcome.number] = self.choice(AMQPSendOptions(messageFormat: 3)) }
        _ = choices.keep(&mail)
        #expect(choices[messages[0]]?.format == 3 && choices[messages[3]] == nil)
        let begun = try choices.begin(messages[0], at: self.time(0))
        #expect(begun?.format == 3 && choices[messages[0]] == nil)
        let taken = [choices.take(of: messages[1]), choices.take(of: messages[1]), choices.take(of: messages[3])]
        #expect(taken.map { $0?.format } == [3, nil, nil])
        choices.drop(of: messages[2])
        #expect(choices[messages[2]] == nil && choices.count == 1)
    }

    /// A message from the latest mail leaves at once, however short its time limit.
    @Test func aMessageExpiresOnlyIfItHasWaited() throws {
        let messages = [self.message(), self.message()]
        defer { for message in messages { message.fail(.cancelled) } }
        var choices = SendChoices()
        for message in messages {
            var mail = [message.outcome.number: self.choice(AMQPSendOptions(expiresAfter: .seconds(1)))]
            _ = choices.keep(&mail)
        }
        let last = try choices.begin(messages[1], at: self.time(9))
        #expect(last != nil)
        let now = self.time(9)
        let error = #expect(throws: AMQPError.self) { _ = try choices.begin(messages[0], at: now) }
        #expect(error?.condition == .expired && choices.isEmpty)
    }

    @Test func theNextDeadlineIsTheEarliest() {
        var choices = SendChoices()
        #expect(choices.nextDeadline == nil)
        for (number, seconds) in [(1, 5), (2, 3)] as [(UInt, Int)] {
            var mail = [number: self.choice(AMQPSendOptions(expiresAfter: .seconds(seconds)))]
            _ = choices.keep(&mail)
        }
        var unlimited: [UInt: SendChoice] = [3: self.choice(AMQPSendOptions(messageFormat: 1))]
        _ = choices.keep(&unlimited)
        #expect(choices.nextDeadline == self.time(3))
        #expect(choices.expiredLanes(at: self.time(2)) == [] && choices.expiredLanes(at: self.time(3)) == [self.lane])
    }
}
