internal import NIOCore

// Channel numbers that rest: see ``ChannelRest``.
//
// Proton gives a new session the lowest free number. A session that only holds a number keeps Proton from taking it. The begin
// and the end of such a session are not sent.

extension ConnectionHandler {
    /// Begins a session on this side. A session of this side's own waits while every free channel number rests; the answer to
    /// the peer's begin does not.
    func begin(_ session: SessionEndpoint) {
        guard !session.isDone else { return }
        if session.isBegunByPeer {
            // Proton has to find a number.
            if self.holdRestingChannels() != nil { self.releaseChannels { _ in true } }
            return session.begin()
        }
        guard self.waitingBegins.isEmpty else { return self.waitingBegins.append(session) }
        guard let wait = self.holdRestingChannels() else { return session.begin() }
        self.waitingBegins = [session]
        _ = self.schedule(in: .nanoseconds(wait)) { [unowned self] in
            let waiting = self.waitingBegins
            self.waitingBegins = []
            for session in waiting { self.begin(session) }
        }
    }

    /// Notes that a session of this side has ended on a channel.
    ///
    /// - Parameter isOver: Whether the peer has ended it too.
    func sessionEnded(on channel: UInt16, isOver: Bool) {
        if isOver {
            self.channelRest.ended(channel, at: self.nanoseconds)
        } else {
            self.channelRest.endedHere(channel)
        }
    }

    /// Leaves Proton a number that has rested as the lowest free one.
    ///
    /// - Returns: How long it takes until there is one, in nanoseconds; nil when there is one now.
    private func holdRestingChannels() -> Int64? {
        let now = self.nanoseconds
        self.channelRest.expire(at: now)
        guard !self.channelRest.isEmpty || !self.heldChannels.isEmpty, self.engine.transportError == nil,
            self.engine.isLocallyActive
        else { return nil }
        // Begins and ends that Proton has not framed take and free numbers.
        while self.produce() {}
        guard !self.isDead else { return nil }
        let chosen: UInt16
        switch self.channelRest.choose(at: now, channels: self.channels, isInUse: { self.frames.isInUse($0) }) {
        case .wait(let time): return time
        case .take(let channel): chosen = channel
        }
        self.releaseChannels { $0 >= chosen }
        let resting = (0..<chosen).filter { !self.frames.isInUse($0) && self.heldChannels[$0] == nil }
        let holders = resting.compactMap { _ in ProtonChannelHolder(self.engine) }
        for holder in holders { holder.begin() }
        for (holder, channel) in zip(holders, self.frameUnsent()) { self.heldChannels[channel] = holder }
        if !self.heldChannels.isEmpty, self.holdTimer == nil {
            self.holdTimer = self.schedule(in: .nanoseconds(ChannelRest.rest)) { [unowned self] in
                self.holdTimer = nil
                self.releaseChannels { _ in true }
            }
        }
        return nil
    }

    private func releaseChannels(_ isReleased: (UInt16) -> Bool) {
        let released = self.heldChannels.filter { isReleased($0.key) }
        guard !released.isEmpty else { return }
        while self.produce() {}
        for (channel, holder) in released {
            self.heldChannels[channel] = nil
            holder.end()
        }
        _ = self.frameUnsent()
    }

    /// Has Proton frame what was done to sessions that hold numbers, and drops the frames. There are no others, because all that
    /// Proton had to send was written before.
    ///
    /// - Returns: The channels of the frames.
    private func frameUnsent() -> [UInt16] {
        var bytes = ByteBuffer()
        self.engine.write { bytes.writeBytes($0) }
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
