// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The reasons for missing room: the causes, the sentence and the errors.
@Suite struct SendRefusalTests {
    private static func refusal(
        _ level: SendRefusal.Level,
        bytes: Int = 10,
        used: Int = 1_024,
        cause: LaneCause? = .credit
    ) -> SendRefusal {
        SendRefusal(level: level, bytes: bytes, high: 1_024, low: 100, used: used, cause: cause)
    }

    @Test(arguments: [
        (SendRefusal.Level.link, AMQPBlockCause.linkLimit), (.session, .sessionLimit), (.connection, .connectionLimit),
        (.budget, .memoryBudget), (.stream, .stream),
    ])
    func theFullLevelPrecedesItsCause(level: SendRefusal.Level, full: AMQPBlockCause) {
        #expect(Self.refusal(level).blockedBy == [full, .credit])
        #expect(Self.refusal(level, cause: nil).blockedBy == [full])
    }

    @Test(arguments: [
        (SendRefusal.Level.link, "the link's send limit"), (.session, "the session's send limit"),
        (.connection, "the connection's send limit"), (.budget, "the memory budget"),
    ])
    func theTextNamesTheLevelWithItsFigures(level: SendRefusal.Level, name: String) {
        #expect(Self.refusal(level, cause: nil).text.hasPrefix("\(name) of 1 KiB is full: 1024 bytes wait; "))
        #expect(Self.refusal(level).text.contains("1024 bytes wait because \(AMQPBlockCause.credit);"))
    }

    /// A message that would fit into the remaining room waits for the low mark. A larger message is itself the reason.
    @Test func theRemedyDependsOnWhetherTheMessageFitsIntoTheRest() {
        #expect(Self.refusal(.link, bytes: 24, used: 1_000).text.hasSuffix("when 100 B or less wait"))
        #expect(Self.refusal(.link, bytes: 25, used: 1_000).text.hasSuffix("; the message has 25 bytes"))
    }

    @Test func aRefusalBehindAStreamNamesNoBytes() {
        let text = Self.refusal(.stream, cause: nil).text
        #expect(text == "a streamed message of the link has not ended; the link accepts more after its end")
        #expect(Self.refusal(.stream).text.contains("not ended because \(AMQPBlockCause.credit);"))
    }

    @Test func theErrorsReportNotSent() {
        let refusal = Self.refusal(.session)
        let error = refusal.error
        #expect(error.condition == .wouldBlock && error.scope == .call && error.fate == .notSent)
        #expect(error.blockedBy == [.sessionLimit, .credit] && error.detail == refusal.text)
        let dropped = AMQPError.dropped(refusal)
        #expect(dropped.condition == .dropped && dropped.scope == .delivery && dropped.fate == .dropped)
        #expect(dropped.blockedBy == [.sessionLimit, .credit] && dropped.detail == refusal.text)
    }
}
