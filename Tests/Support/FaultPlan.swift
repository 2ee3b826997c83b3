// SPDX-License-Identifier: Apache-2.0

/// What a ``FaultProxy`` does to the bytes of one direction. Offsets count the bytes of the direction, from 0.
package struct FaultPlan: Sendable {
    /// How a direction ends.
    package enum Ending: Sendable, CaseIterable {
        /// Both sockets are closed.
        case cut
        /// This direction has no more bytes; the other goes on.
        case halfClose
        /// What comes is taken and not forwarded; the sockets stay open.
        case blackHole
        /// Both sockets are closed with a RST.
        case reset
    }

    /// How long every byte is held.
    package var delay = Duration.zero
    /// How fast the bytes go on; nil for as fast as they can.
    package var bytesPerSecond: Int?
    /// The most bytes of one segment, each written in a turn of its own; nil for any.
    package var segment: Int?
    /// Bytes are kept until there are so many, or the first of them has waited so long.
    package var gather: Gather?
    /// The bits that are flipped, by the offset of their byte.
    package var flips: [Int: UInt8] = [:]
    /// What happens when so many bytes have been forwarded.
    package var ending: (offset: Int, Ending)?
    /// The bytes that are held at most, give or take one read of a socket; the sender's socket is not read beyond.
    package var capacity = 65_536
    /// Whether what is forwarded is kept, to be looked at.
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

    /// A plan that ends after `offset` bytes.
    package static func ending(_ ending: Ending, at offset: Int) -> FaultPlan {
        var plan = FaultPlan()
        plan.ending = (offset, ending)
        return plan
    }

    /// A plan that is changed.
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

/// What a direction has done.
package struct FaultRecord: Sendable {
    /// The bytes that came.
    package var received = 0
    /// The bytes that went on.
    package var forwarded = 0
    /// The most bytes that were held.
    package var heldPeak = 0
    /// The writes that the bytes went on in.
    package var segments = 0
    /// What went on, if the plan records it.
    package var bytes: [UInt8] = []
    /// Whether the plan's ending has come about.
    package var hasEnded = false
    /// Whether the side that the bytes came from sends no more.
    package var hasSourceEnded = false
}
