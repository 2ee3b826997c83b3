// SPDX-License-Identifier: Apache-2.0

/// What a ``FaultProxy`` does to the bytes of one direction. Offsets count the bytes of the direction, from 0.
struct FaultPlan: Sendable {
    /// How a direction ends.
    enum Ending: Sendable, CaseIterable {
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
    var delay = Duration.zero
    /// How fast the bytes go on; nil for as fast as they can.
    var bytesPerSecond: Int?
    /// The most bytes of one segment, each written in a turn of its own; nil for any.
    var segment: Int?
    /// Bytes are kept until there are so many, or the first of them has waited so long.
    var gather: Gather?
    /// The bits that are flipped, by the offset of their byte.
    var flips: [Int: UInt8] = [:]
    /// What happens when so many bytes have been forwarded.
    var ending: (offset: Int, Ending)?
    /// The bytes that are held at most, give or take one read of a socket; the sender's socket is not read beyond.
    var capacity = 65_536
    /// Whether what is forwarded is kept, to be looked at.
    var records = false

    struct Gather: Sendable {
        var bytes: Int
        var time: Duration
    }

    /// A plan that ends after `offset` bytes.
    static func ending(_ ending: Ending, at offset: Int) -> FaultPlan {
        var plan = FaultPlan()
        plan.ending = (offset, ending)
        return plan
    }

    /// A plan that is changed.
    static func with(_ change: (inout FaultPlan) -> Void) -> FaultPlan {
        var plan = FaultPlan()
        change(&plan)
        return plan
    }
}

/// The two directions of a connection through a ``FaultProxy``.
enum FaultDirection: CaseIterable, Sendable {
    case toServer, toClient
}

/// What a direction has done.
struct FaultRecord: Sendable {
    /// The bytes that came.
    var received = 0
    /// The bytes that went on.
    var forwarded = 0
    /// The most bytes that were held.
    var heldPeak = 0
    /// The writes that the bytes went on in.
    var segments = 0
    /// What went on, if the plan records it.
    var bytes: [UInt8] = []
    /// Whether the plan's ending has come about.
    var hasEnded = false
    /// Whether the side that the bytes came from sends no more.
    var hasSourceEnded = false
}
