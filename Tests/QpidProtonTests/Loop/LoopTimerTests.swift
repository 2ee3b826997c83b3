// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import Testing

@testable import QpidProton

/// Work that a loop runs at a given time, unless the work is cancelled before.
@Suite struct LoopTimerTests {
    /// A loop, and the work that ran on it. Each test creates its own, because the loop belongs to the thread that
    /// created it.
    private final class Scene {
        let loop = EmbeddedEventLoop()
        var names: [String] = []
        var timers: [LoopTimer] = []

        func schedule(_ name: String, in time: TimeAmount, cancelling other: Int? = nil) {
            self.timers.append(
                LoopTimer(on: self.loop, at: self.loop.now + time) { [unowned self] in
                    self.names.append(name)
                    if let other { self.timers[other].cancel() }
                }
            )
        }
    }

    @Test func theWorkRunsOnceAtItsTime() {
        let scene = Scene()
        scene.schedule("late", in: .milliseconds(20))
        scene.schedule("early", in: .milliseconds(10))
        scene.loop.advanceTime(by: .milliseconds(9))
        #expect(scene.names == [])
        scene.loop.advanceTime(by: .milliseconds(1))
        #expect(scene.names == ["early"])
        scene.loop.advanceTime(by: .seconds(1))
        #expect(scene.names == ["early", "late"])
    }

    @Test func cancelledWorkDoesNotRun() {
        let scene = Scene()
        scene.schedule("a", in: .milliseconds(10))
        scene.schedule("b", in: .milliseconds(10))
        scene.timers[0].cancel()
        scene.loop.advanceTime(by: .seconds(1))
        #expect(scene.names == ["b"])
        // Cancelling completed work has no effect.
        scene.timers[1].cancel()
        scene.loop.advanceTime(by: .seconds(1))
        #expect(scene.names == ["b"])
    }

    /// The loop removes all due work from its queue before it runs any of it.
    @Test func workCanCancelOtherWorkOfTheSameTime() {
        let scene = Scene()
        scene.schedule("a", in: .milliseconds(10), cancelling: 1)
        scene.schedule("b", in: .milliseconds(10), cancelling: 0)
        scene.loop.advanceTime(by: .seconds(1))
        #expect(scene.names.count == 1)
    }

    @Test func workOfThePastRunsAtOnce() {
        let scene = Scene()
        scene.loop.advanceTime(by: .seconds(5))
        scene.schedule("a", in: .seconds(-3))
        #expect(scene.names == [])
        scene.loop.run()
        scene.loop.advanceTime(by: .nanoseconds(0))
        #expect(scene.names == ["a"])
    }
}
