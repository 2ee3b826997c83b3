// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The owner of one `pn_link_t`, a sender or a receiver. It belongs to one event loop.
///
/// ``free()`` and ``abandon()`` empty this value. The state of an empty value is closed on both sides. Any other use of
/// an empty value traps here, and does not touch memory that Proton has reused.
struct ProtonLink: ~Copyable, ProtonEndpoint {
    /// A link in an event. It is valid until the next event.
    struct View: BitwiseCopyable {
        let pointer: OpaquePointer

        var isSender: Bool { pn_link_is_sender(self.pointer) }
        var name: String { pn_link_name(self.pointer).map { String(cString: $0) } ?? "" }
        var session: ProtonSession.View { ProtonSession.View(pointer: pn_link_session(self.pointer)) }

        /// Returns the object of ``ProtonLink/setContext(_:)``; `nil` before that call, and once the link is freed or
        /// abandoned.
        @inline(__always)
        func context<Object: AnyObject>(as type: Object.Type) -> Object? {
            pn_link_get_context(self.pointer).map { Unmanaged<Object>.fromOpaque($0).takeUnretainedValue() }
        }

        /// Drops the received bytes of a link without an owner, which would stay in the window until the session ends
        /// (P3).
        func dropAll() {
            guard pn_link_is_receiver(self.pointer) else { return }
            while ProtonDelivery.dropCurrent(of: self.pointer) != nil { pn_link_advance(self.pointer) }
        }
    }

    private var owned: OpaquePointer?

    /// Owns a link that the peer has attached.
    init(_ view: View) {
        self.owned = view.pointer
    }

    /// Owns a link of this side; `nil` if Proton has made no link.
    init?(_ made: OpaquePointer?) {
        guard let made else { return nil }
        self.owned = made
    }

    @inline(__always) var pointer: OpaquePointer {
        // No peer and no caller can reach this trap: `free` clears the context, so events find no endpoint, and
        // commands no key.
        guard let owned = self.owned else { preconditionFailure("the link was freed") }
        return owned
    }

    @inline(__always) var state: pn_state_t {
        self.owned.map { pn_link_state($0) } ?? PN_LOCAL_CLOSED | PN_REMOTE_CLOSED
    }

    var isSender: Bool { pn_link_is_sender(self.pointer) }

    /// Sets the object that handles the events of the link. The link does not retain the object, so free or abandon the
    /// link first.
    func setContext(_ object: AnyObject) {
        pn_link_set_context(self.pointer, Unmanaged.passUnretained(object).toOpaque())
    }

    // MARK: Deliveries

    /// The delivery that is being sent or read; `nil` between messages.
    @inline(__always) var current: ProtonDelivery? { pn_link_current(self.pointer).map { ProtonDelivery(pointer: $0) } }

    /// Ends the current delivery on this side. Never call it after ``ProtonDelivery/settle()`` of the same delivery,
    /// which advances by itself. A second advance skips a message.
    @inline(__always) func advance() { pn_link_advance(self.pointer) }

    /// The number of deliveries that this side has not settled.
    @inline(__always) var unsettledCount: Int { Int(pn_link_unsettled(self.pointer)) }

    /// The deliveries that this side has not settled, oldest first. The visitor may settle each delivery.
    var unsettled: UnsettledDeliveries { UnsettledDeliveries(of: self.pointer) }

    // MARK: Attach and detach

    func open() { pn_link_open(self.pointer) }

    /// Sets the error in the detach of this side.
    func setError(_ error: AMQPError) { ProtonCondition.set(pn_link_condition(self.pointer), error) }

    /// Detaches and closes the link. Data without credit delays the detach (P8, P32).
    func close() { pn_link_close(self.pointer) }

    /// Detaches without closing. The link stays locally active.
    func detach() { pn_link_detach(self.pointer) }

    /// Returns the error in the detach of the peer; `nil` if the detach has no error.
    func remoteError(_ ending: AMQPError.Ending) -> AMQPError? {
        ProtonCondition.get(pn_link_remote_condition(self.pointer), .link, ending)
    }

    /// Frees the link and its deliveries. Clears the context first, because events may still name the link.
    mutating func free() {
        let link = self.pointer
        self.abandon()
        pn_link_free(link)
    }

    /// Abandons the link, which Proton frees with its session.
    mutating func abandon() {
        if let owned = self.owned { pn_link_set_context(owned, nil) }
        self.owned = nil
    }
}
