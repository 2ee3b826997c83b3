internal import CProton

/// The events of Proton that this library acts on. The pointers are valid until the next event is taken.
enum ProtonEvent {
    case connectionRemoteOpen
    case connectionRemoteClose
    case sessionRemoteOpen(ProtonSession.View)
    case sessionRemoteClose(ProtonSession.View)
    case linkRemoteOpen(OpaquePointer)
    case linkRemoteDetach(OpaquePointer)
    case linkRemoteClose(OpaquePointer)
    case linkFlow(OpaquePointer)
    case delivery(OpaquePointer, link: OpaquePointer)
    case transportError
    case transportClosed

    /// Nil for an event that needs no act.
    init?(_ event: OpaquePointer) {
        switch pn_event_type(event) {
        case PN_DELIVERY: self = .delivery(pn_event_delivery(event), link: pn_event_link(event))
        case PN_LINK_FLOW: self = .linkFlow(pn_event_link(event))
        case PN_CONNECTION_REMOTE_OPEN: self = .connectionRemoteOpen
        case PN_CONNECTION_REMOTE_CLOSE: self = .connectionRemoteClose
        case PN_SESSION_REMOTE_OPEN: self = .sessionRemoteOpen(ProtonSession.View(pointer: pn_event_session(event)))
        case PN_SESSION_REMOTE_CLOSE: self = .sessionRemoteClose(ProtonSession.View(pointer: pn_event_session(event)))
        case PN_LINK_REMOTE_OPEN: self = .linkRemoteOpen(pn_event_link(event))
        case PN_LINK_REMOTE_DETACH: self = .linkRemoteDetach(pn_event_link(event))
        case PN_LINK_REMOTE_CLOSE: self = .linkRemoteClose(pn_event_link(event))
        case PN_TRANSPORT_ERROR: self = .transportError
        case PN_TRANSPORT_CLOSED: self = .transportClosed
        default: return nil
        }
    }
}
