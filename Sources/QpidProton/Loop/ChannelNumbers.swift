// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The channel numbers of a connection, which rest between two sessions: see ``ChannelRest``. Used on the event loop
/// only.
///
/// Proton assigns the lowest free number to a new session. A placeholder session prevents Proton from using a number.
/// Its begin and end are never sent.
final class ChannelNumbers {
    private unowned let handler: ConnectionHandler
    /// The rest of the numbers of ended sessions.
    private var rest = ChannelRest()
    /// The placeholder sessions, by the numbers that they occupy.
    private(set) var held: [UInt16: ProtonChannelHolder] = [:]
    private var holdTimer: LoopTimer?
    /// The sessions that wait for a rested number.
    private var waiting: [SessionEndpoint] = []

    init(_ handler: ConnectionHandler) { self.handler = handler }

    private var frames: FrameObserver { self.handler.frames }

    /// The number of channels that both sides allow. An ended session keeps its channel until the peer has ended it
    /// too.
    var count: Int {
        1 + min(Int(self.handler.configuration.channelMax), Int(self.handler.engine.remoteChannelMax))
    }

    /// Begins a session on this side. A session that this side starts waits while every free channel number rests. The
    /// answer to the peer's begin does not wait.
    func begin(_ session: SessionEndpoint) {
        guard !session.isDone else { return }
        if session.isBegunByPeer {
            // Proton needs a free number for the answer, even if all free numbers rest.
            if self.holdResting() != nil { self.release { _ in true } }
            return session.begin()
        }
        guard self.waiting.isEmpty else { return self.waiting.append(session) }
        guard let wait = self.holdResting() else { return session.begin() }
        self.waiting = [session]
        _ = LoopTimer(of: self.handler, in: .nanoseconds(wait)) { [unowned self] in
            let waiting = self.waiting
            self.waiting = []
            for session in waiting { self.begin(session) }
        }
    }

    /// Records the end of a session of this side on a channel.
    ///
    /// - Parameter isOver: Whether the peer has ended the session too.
    func ended(_ channel: UInt16, isOver: Bool) {
        if isOver {
            self.rest.ended(channel, at: self.handler.nanoseconds)
        } else {
            self.rest.endedHere(channel)
        }
    }

    /// Handles the end of the connection.
    func close() { self.waiting = [] }

    /// Makes a rested number the lowest free one for Proton.
    ///
    /// - Returns: The time until a number has rested, in nanoseconds; `nil` if one has.
    private func holdResting() -> Int64? {
        let now = self.handler.nanoseconds
        self.rest.expire(at: now)
        guard !self.rest.isEmpty || !self.held.isEmpty, self.handler.engine.transportError == nil,
            self.handler.engine.isLocallyActive
        else { return nil }
        // Begins and ends that Proton has not written yet still use and free numbers.
        while self.handler.produce() {}
        guard !self.handler.isDead else { return nil }
        let chosen: UInt16
        switch self.rest.choose(at: now, channels: self.count, isInUse: { self.frames.isInUse($0) }) {
        case .wait(let time): return time
        case .take(let channel): chosen = channel
        }
        self.release { $0 >= chosen }
        let resting = (0..<chosen).filter { !self.frames.isInUse($0) && self.held[$0] == nil }
        let holders = resting.compactMap { _ in ProtonChannelHolder(self.handler.engine) }
        for holder in holders { holder.begin() }
        for (holder, channel) in zip(holders, self.frameUnsent()) { self.held[channel] = holder }
        if !self.held.isEmpty, self.holdTimer == nil {
            self.holdTimer = LoopTimer(of: self.handler, in: .nanoseconds(ChannelRest.rest)) { [unowned self] in
                self.holdTimer = nil
                self.release { _ in true }
            }
        }
        return nil
    }

    private func release(_ isReleased: (UInt16) -> Bool) {
        let released = self.held.filter { isReleased($0.key) }
        guard !released.isEmpty else { return }
        while self.handler.produce() {}
        for (channel, holder) in released {
            self.held[channel] = nil
            holder.end()
        }
        _ = self.frameUnsent()
    }

    /// Makes Proton write the frames of placeholder sessions, and drops these frames. Proton has no other output here,
    /// because the callers have written it.
    ///
    /// - Returns: The channels of the frames.
    private func frameUnsent() -> [UInt16] {
        var bytes = ByteBuffer()
        self.handler.engine.write { bytes.writeBytes($0) }
        var channels: [UInt16] = []
        while let size = bytes.getInteger(at: bytes.readerIndex, as: UInt32.self),
            let channel = bytes.getInteger(at: bytes.readerIndex + 6, as: UInt16.self),
            bytes.readSlice(length: Int(size)) != nil
        {
            channels.append(channel)
        }
        return channels
    }
}
