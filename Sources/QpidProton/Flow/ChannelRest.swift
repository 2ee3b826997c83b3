// SPDX-License-Identifier: Apache-2.0

/// The channel numbers of ended sessions. Each rests before its next use.
///
/// RabbitMQ 4.0 answers the end of a session shortly before it frees the channel, and loses a begin in between without
/// an answer. This time is below a millisecond on an idle machine, and several milliseconds on a busy machine.
struct ChannelRest {
    /// The time after which a number counts as unused, in nanoseconds.
    static let rest: Int64 = 100_000_000
    /// The shortest rest of a number if no rested number is free, in nanoseconds.
    static let leastRest: Int64 = 20_000_000

    enum Choice: Equatable {
        case take(UInt16)
        /// Each free number must rest for at least this time, in nanoseconds.
        case wait(Int64)
    }

    private enum State {
        /// The peer has not ended the session.
        case ending
        /// Both sides have ended it.
        case ended(at: Int64)
    }

    private var states: [UInt16: State] = [:]

    var isEmpty: Bool { self.states.isEmpty }

    /// Records that this side has ended its session on a channel, and the peer has not.
    mutating func endedHere(_ channel: UInt16) { self.states[channel] = .ending }

    /// Records that both sides have ended the session on a channel of this side.
    mutating func ended(_ channel: UInt16, at now: Int64) { self.states[channel] = .ended(at: now) }

    /// Removes the numbers that have rested.
    mutating func expire(at now: Int64) {
        guard !self.states.isEmpty else { return }
        self.states = self.states.filter { _, state in
            if case .ended(let time) = state { now - time < Self.rest } else { true }
        }
    }

    /// Returns the number for the next session: the lowest rested number, or if there is none, the number that has
    /// rested longest.
    ///
    /// - Parameters:
    ///   - channels: The number of channels.
    ///   - isInUse: Whether a session uses a number.
    func choose(at now: Int64, channels: Int, isInUse: (UInt16) -> Bool) -> Choice {
        var oldest: (channel: UInt16, time: Int64)?
        for channel in 0..<UInt16(clamping: channels) where !isInUse(channel) {
            switch self.states[channel] {
            case nil: return .take(channel)
            case .ending: continue
            case .ended(let time):
                if now - time >= Self.rest { return .take(channel) }
                if time < oldest?.time ?? .max { oldest = (channel, time) }
            }
        }
        guard let oldest else { return .wait(Self.leastRest) }
        let left = oldest.time + Self.leastRest - now
        return left <= 0 ? .take(oldest.channel) : .wait(left)
    }
}
