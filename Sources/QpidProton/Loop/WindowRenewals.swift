// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The sessions for which the library must send flows that Proton does not write: renewals of windows, and answers to
/// echoes.
struct WindowRenewals {
    /// The sessions whose window may need a renewal.
    private var due: [PeerSession] = []
    /// The sessions whose state the peer has requested.
    private var echoes: [PeerSession] = []
    /// Whether links without arrivals may need a flow that names them, because a window has grown.
    private(set) var mayOweIdleLinks = false
    /// Whether the flows name links; false for a peer that resumes all links at any flow.
    var namesLinks = true

    /// Whether there may be frames to send.
    @inline(__always) var areDue: Bool { !self.due.isEmpty || !self.echoes.isEmpty || self.mayOweIdleLinks }

    /// Schedules a check of a session's window with the next output.
    @inline(__always)
    mutating func look(at session: PeerSession) {
        guard !session.isDue else { return }
        session.isDue = true
        self.due.append(session)
    }

    /// Schedules the answer to a peer that has requested the state of a session.
    mutating func echo(_ session: PeerSession) {
        guard !session.isEchoDue else { return }
        session.isEchoDue = true
        self.echoes.append(session)
    }

    /// Handles a flow that advertised a session's window, and may not have named the waiting links.
    mutating func told(_ session: PeerSession) {
        if session.mayHaveWaiting { self.look(at: session) }
        self.noteIdleLinks(session)
    }

    private mutating func noteIdleLinks(_ session: PeerSession) {
        if self.namesLinks, session.flows.ownCount > session.links.active.count { self.mayOweIdleLinks = true }
    }

    /// Schedules a check of the links without arrivals with the next output.
    mutating func lookAtIdleLinks(of sessions: some Sequence<PeerSession>) {
        self.mayOweIdleLinks = false
        for session in sessions {
            session.isIdleLookDue = true
            self.look(at: session)
        }
    }

    /// Passes to `body` the frames that renew windows after a quarter of use, and windows that have opened again.
    ///
    /// - Parameter now: The time of the loop's clock, in nanoseconds.
    /// - Returns: Whether more frames follow with the next output.
    mutating func renew(at now: Int64, _ body: (ByteBuffer) -> Void) -> Bool {
        guard !self.due.isEmpty else { return false }
        let count = self.due.count
        for index in 0..<count {
            let session = self.due[index]
            let limit = session.toldLimit
            session.isDue = false
            if session.renew(at: now, namesLinks: self.namesLinks, body) { self.look(at: session) }
            if session.toldLimit != limit || session.owesIdleLinks { self.noteIdleLinks(session) }
        }
        self.due.removeFirst(count)
        return !self.due.isEmpty
    }

    /// Passes to `body` the frames that answer the peer's requests: one per link, however often the peer has asked.
    mutating func answerEchoes(_ body: (ByteBuffer) -> Void) {
        guard !self.echoes.isEmpty else { return }
        for session in self.echoes {
            session.takeEchoes().forEach(body)
            self.told(session)
        }
        self.echoes.removeAll(keepingCapacity: true)
    }
}
