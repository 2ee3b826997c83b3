import NIOCore
import NIOEmbedded
import Testing

@testable import QpidProton

/// Work that a loop runs at a time, unless it is cancelled before.
@Suite struct LoopTimerTests {
    private final class Log {
        var names: [String] = []
        var timers: [LoopTimer] = []
    }

    private let loop = EmbeddedEventLoop()
    private let log = Log()

    private func schedule(_ name: String, in time: TimeAmount, _ then: @escaping () -> Void = {}) {
        self.log.timers.append(
            LoopTimer(on: self.loop, at: self.loop.now + time) { [log] in
                log.names.append(name)
                then()
            }
        )
    }

    @Test func theWorkRunsOnceAtItsTime() {
        self.schedule("late", in: .milliseconds(20))
        self.schedule("early", in: .milliseconds(10))
        self.loop.advanceTime(by: .milliseconds(9))
        #expect(self.log.names == [])
        self.loop.advanceTime(by: .milliseconds(1))
        #expect(self.log.names == ["early"])
        self.loop.advanceTime(by: .seconds(1))
        #expect(self.log.names == ["early", "late"])
    }

    @Test func whatIsCancelledDoesNotRun() {
        self.schedule("a", in: .milliseconds(10))
        self.schedule("b", in: .milliseconds(10))
        self.log.timers[0].cancel()
        self.loop.advanceTime(by: .seconds(1))
        #expect(self.log.names == ["b"])
        // After the work it does nothing.
        self.log.timers[1].cancel()
        self.loop.advanceTime(by: .seconds(1))
        #expect(self.log.names == ["b"])
    }

    /// The loop takes all that is due off its queue before it runs any of it.
    @Test func workThatIsDueAtTheSameTimeCanBeCancelledByOther() {
        self.schedule("a", in: .milliseconds(10)) { [log] in log.timers[1].cancel() }
        self.schedule("b", in: .milliseconds(10)) { [log] in log.timers[0].cancel() }
        self.loop.advanceTime(by: .seconds(1))
        #expect(self.log.names.count == 1)
    }

    @Test func aTimeThatHasPassedIsNow() {
        self.loop.advanceTime(by: .seconds(5))
        self.schedule("a", in: .seconds(-3))
        #expect(self.log.names == [])
        self.loop.run()
        self.loop.advanceTime(by: .nanoseconds(0))
        #expect(self.log.names == ["a"])
    }
}
