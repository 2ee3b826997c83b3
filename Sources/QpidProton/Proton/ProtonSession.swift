// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The owner of one `pn_session_t`. It belongs to one event loop.
///
/// ``free()`` and ``abandon()`` empty this value. The state of an empty value is closed on both sides. Any other use of
/// an empty value traps here, and does not touch memory that Proton has reused.
struct ProtonSession: ~Copyable, ProtonEndpoint {
    /// A session in an event. It is valid until the next event.
    struct View: BitwiseCopyable {
        let pointer: OpaquePointer

        /// Returns the object of ``ProtonSession/setContext(_:)``; `nil` before that call, and once the session is
        /// freed.
        @inline(__always)
        func context<Object: AnyObject>(as type: Object.Type) -> Object? {
            pn_session_get_context(self.pointer).map { Unmanaged<Object>.fromOpaque($0).takeUnretainedValue() }
        }
    }

    private var owned: OpaquePointer?

    /// Owns a session that the peer has begun.
    init(_ view: View) {
        self.owned = view.pointer
    }

    /// Creates a session of this side; `nil` if Proton has no memory.
    ///
    /// Proton aborts the process if a connection has more sessions than channels, so count them first.
    init?(of engine: borrowing ProtonEngine) {
        guard let session = pn_session(engine.connection) else { return nil }
        self.owned = session
    }

    @inline(__always) private var pointer: OpaquePointer {
        // No peer and no caller can reach this trap: `free` clears the context, so events find no endpoint, and
        // commands no key.
        guard let owned = self.owned else { preconditionFailure("the session was freed") }
        return owned
    }

    @inline(__always) var state: pn_state_t {
        self.owned.map { pn_session_state($0) } ?? PN_LOCAL_CLOSED | PN_REMOTE_CLOSED
    }

    /// Sets the object that handles the events of the session. The session does not retain the object, so free or
    /// abandon the session first.
    func setContext(_ object: AnyObject) {
        pn_session_set_context(self.pointer, Unmanaged.passUnretained(object).toOpaque())
    }

    // MARK: Windows

    /// Sets the incoming window before the session begins. A capacity that shrinks later advertises a window of four
    /// billion, and a capacity that grows sends no flow (P7).
    func setIncomingWindow(transfers: Int, frameSize: Int) {
        ProtonWindow.set(self.pointer, transfers: transfers, frameSize: frameSize)
    }

    /// Sets the outgoing window, which Proton advertises and never enforces (P35).
    func setOutgoingWindow(_ transfers: UInt32) { pn_session_set_outgoing_window(self.pointer, Int(transfers)) }

    /// The number of received and unread bytes.
    @inline(__always) var incomingBytes: Int { Int(pn_session_incoming_bytes(self.pointer)) }

    /// The number of unframed bytes in Proton. Framed bytes may be written much later (P1).
    @inline(__always) var outgoingBytes: Int { Int(pn_session_outgoing_bytes(self.pointer)) }

    // MARK: Links

    /// Creates a sending link; `nil` if Proton has no memory.
    func makeSender(_ name: String) -> ProtonLink? { ProtonLink(pn_sender(self.pointer, name)) }

    /// Creates a receiving link; `nil` if Proton has no memory.
    func makeReceiver(_ name: String) -> ProtonLink? { ProtonLink(pn_receiver(self.pointer, name)) }

    // MARK: Begin and end

    /// Begins the session. Proton assigns it the lowest free channel with the next output (P66).
    func begin() { pn_session_open(self.pointer) }

    /// Sets the error in the end of this side.
    func setError(_ error: AMQPError) { ProtonCondition.set(pn_session_condition(self.pointer), error) }

    /// Ends the session. Proton then releases the channel, and fails the connection at a late begin of the peer. So
    /// wait for this begin. Data without credit delays the end (P8, P32).
    func end() { pn_session_close(self.pointer) }

    /// Returns the error in the end of the peer; `nil` if the end has no error.
    func remoteError(_ ending: AMQPError.Ending) -> AMQPError? {
        ProtonCondition.get(pn_session_remote_condition(self.pointer), .session, ending)
    }

    /// Frees the session and its links. Clears the context first, because events may still name the session.
    mutating func free() {
        let session = self.pointer
        self.abandon()
        pn_session_free(session)
    }

    /// Abandons the session, which Proton frees with the connection.
    mutating func abandon() {
        if let owned = self.owned { pn_session_set_context(owned, nil) }
        self.owned = nil
    }
}
