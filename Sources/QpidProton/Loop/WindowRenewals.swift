// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The sessions for which the library must send flows that Proton does not write: renewals of windows, and answers to
/// echoes.
struct WindowRenewals {
    /// Sessions of whose window the peer has used a quarter.
    private var due: [PeerSession] = []
    /// Sessions whose state the peer has requested.
    private var echoes: [PeerSession] = []
    /// Whether a window was renewed, and links without arrivals may need a flow that names them.
    private(set) var mayOweIdleLinks = false
    /// Whether the flows name links: not at a peer that resumes all links at any flow.
    var namesLinks = true

    /// Whether there may be frames to send.
    @inline(__always) var areDue: Bool { !self.due.isEmpty || !self.echoes.isEmpty || self.mayOweIdleLinks }

    /// Checks the window of a session with the next output.
    @inline(__always)
    mutating func look(at session: PeerSession) {
        guard !session.isDue else { return }
        session.isDue = true
        self.due.append(session)
    }

    /// The peer has requested the state of a session.
    mutating func echo(_ session: PeerSession) {
        guard !session.isEchoDue else { return }
        session.isEchoDue = true
        self.echoes.append(session)
    }

    /// A flow advertised a session's window, and may have named another link than the waiting ones.
    mutating func told(_ session: PeerSession) {
        if session.mayHaveWaiting { self.look(at: session) }
        self.noteIdleLinks(session)
    }

    private mutating func noteIdleLinks(_ session: PeerSession) {
        if self.namesLinks, session.flows.ownCount > session.links.active.count { self.mayOweIdleLinks = true }
    }

    /// Checks the links without arrivals with the next output.
    mutating func lookAtIdleLinks(of sessions: some Sequence<PeerSession>) {
        self.mayOweIdleLinks = false
        for session in sessions {
            session.isIdleLookDue = true
            self.look(at: session)
        }
    }

    /// Returns the frames that renew windows after a quarter of use, and those that have opened again.
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

    /// Returns the frames that answer the peer's requests: one per link, independent of their number.
    mutating func answerEchoes(_ body: (ByteBuffer) -> Void) {
        guard !self.echoes.isEmpty else { return }
        for session in self.echoes {
            session.takeEchoes().forEach(body)
            self.told(session)
        }
        self.echoes.removeAll(keepingCapacity: true)
    }
}
