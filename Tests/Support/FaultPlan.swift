// SPDX-License-Identifier: Apache-2.0

/// The faults that a ``FaultProxy`` applies to one direction. Offsets count the bytes of the direction, from 0.
package struct FaultPlan: Sendable {
    /// How a direction ends.
    package enum Ending: Sendable, CaseIterable {
        /// Both sockets are closed.
        case cut
        /// This direction ends, and the other continues.
        case halfClose
        /// The proxy discards all further bytes, and the sockets stay open.
        case blackHole
        /// Both sockets are closed with a RST.
        case reset
    }

    /// How long the proxy holds every byte.
    package var delay = Duration.zero
    /// The rate of forwarded bytes; `nil` for no limit.
    package var bytesPerSecond: Int?
    /// The most bytes of one segment; `nil` for no limit. Each segment has a separate turn of the loop.
    package var segment: Int?
    /// How many bytes the proxy collects, or for how long, before it forwards them; `nil` to forward at once.
    package var gather: Gather?
    /// The flipped bits, by the offset of their byte.
    package var flips: [Int: UInt8] = [:]
    /// The ending, and the number of forwarded bytes before it; `nil` for no ending.
    package var ending: (offset: Int, Ending)?
    /// The most held bytes, plus at most one read. At this number, the proxy stops reading the source's socket.
    package var capacity = 65_536
    /// Whether ``FaultRecord/bytes`` records the forwarded bytes.
    package var records = false

    package struct Gather: Sendable {
        package var bytes: Int
        package var time: Duration

        package init(bytes: Int, time: Duration) {
            self.bytes = bytes
            self.time = time
        }
    }

    package init() {}

    /// Returns a plan that ends after `offset` bytes.
    package static func ending(_ ending: Ending, at offset: Int) -> FaultPlan {
        var plan = FaultPlan()
        plan.ending = (offset, ending)
        return plan
    }

    /// Returns a plan with changes.
    package static func with(_ change: (inout FaultPlan) -> Void) -> FaultPlan {
        var plan = FaultPlan()
        change(&plan)
        return plan
    }
}

/// The two directions of a connection through a ``FaultProxy``.
package enum FaultDirection: CaseIterable, Sendable {
    case toServer, toClient
}

/// The record of one direction.
package struct FaultRecord: Sendable {
    /// The number of received bytes.
    package var received = 0
    /// The number of forwarded bytes.
    package var forwarded = 0
    /// The highest number of held bytes.
    package var heldPeak = 0
    /// The number of writes of forwarded bytes.
    package var segments = 0
    /// The forwarded bytes, if the plan records them.
    package var bytes: [UInt8] = []
    /// Whether the plan's ending has happened.
    package var hasEnded = false
    /// Whether the source has ended this direction.
    package var hasSourceEnded = false
}
