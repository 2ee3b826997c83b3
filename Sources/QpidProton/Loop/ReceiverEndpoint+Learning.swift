internal import NIOCore

// A window that is learned.

extension ReceiverEndpoint {
    /// The peer has attached the link.
    func wasAnswered() {
        guard let openTime = self.openTime else { return }
        self.state.attached(after: (self.handler.eventLoop.now - openTime).nanoseconds)
    }

    /// Looks at what has come and gone, once for all that came or went together.
    ///
    /// - Parameter time: When; now if nil.
    func learn(at time: Int64? = nil) {
        guard self.state.window.isAutomatic else { return }
        self.state.tune(at: time ?? self.handler.nanoseconds)
        if self.share == nil, let count = self.state.window.learned {
            self.inbox?.setReportEvery(max(1, min(count / 4, 64)))
        }
    }

    /// How many bytes of a message may be read.
    ///
    /// A budget that is no hard limit has room for one whole message to an application that waits and has none left to
    /// take, however large the message is and whatever the application holds.
    func room(for size: Int) -> Int {
        let room = self.state.window.room(after: 0)
        guard room < size, self.state.window.isAutomatic, self.arrivals.isEmpty else { return room }
        return self.state.window.heldBytes == 0 || self.inbox?.hasWaiters == true ? size : room
    }

    /// Takes what waits in Proton for room, while tasks wait for it.
    func takeHeldBack() {
        while self.state.message.isHeldBack, self.state.window.isAutomatic, self.inbox?.hasWaiters == true {
            self.receive()
            guard !self.arrivals.isEmpty else { return }
            self.inbox?.push(self.arrivals.take())
        }
    }
}
