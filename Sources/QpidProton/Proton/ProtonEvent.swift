// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The Proton events that this library handles. Their objects are valid until the next event.
///
/// Many frames may raise one event, so read until no data is left (P36).
enum ProtonEvent {
    case connectionRemoteOpen
    case connectionRemoteClose
    case sessionRemoteOpen(ProtonSession.View)
    case sessionRemoteClose(ProtonSession.View)
    case linkRemoteOpen(ProtonLink.View)
    case linkRemoteDetach(ProtonLink.View)
    case linkRemoteClose(ProtonLink.View)
    case linkFlow(ProtonLink.View)
    case delivery(ProtonDelivery, link: ProtonLink.View)
    case transportError
    case transportClosed

    /// Translates an event; `nil` for an event that this library does not handle.
    init?(_ event: OpaquePointer) {
        switch pn_event_type(event) {
        case PN_DELIVERY: self = .delivery(ProtonDelivery(pointer: pn_event_delivery(event)), link: Self.link(event))
        case PN_LINK_FLOW: self = .linkFlow(Self.link(event))
        case PN_CONNECTION_REMOTE_OPEN: self = .connectionRemoteOpen
        case PN_CONNECTION_REMOTE_CLOSE: self = .connectionRemoteClose
        case PN_SESSION_REMOTE_OPEN: self = .sessionRemoteOpen(ProtonSession.View(pointer: pn_event_session(event)))
        case PN_SESSION_REMOTE_CLOSE: self = .sessionRemoteClose(ProtonSession.View(pointer: pn_event_session(event)))
        case PN_LINK_REMOTE_OPEN: self = .linkRemoteOpen(Self.link(event))
        case PN_LINK_REMOTE_DETACH: self = .linkRemoteDetach(Self.link(event))
        case PN_LINK_REMOTE_CLOSE: self = .linkRemoteClose(Self.link(event))
        case PN_TRANSPORT_ERROR: self = .transportError
        case PN_TRANSPORT_CLOSED: self = .transportClosed
        default: return nil
        }
    }

    @inline(__always)
    private static func link(_ event: OpaquePointer) -> ProtonLink.View {
        ProtonLink.View(pointer: pn_event_link(event))
    }
}
