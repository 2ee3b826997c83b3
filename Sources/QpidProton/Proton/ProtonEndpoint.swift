// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// A C object that each side opens and closes: a connection, a session or a link.
protocol ProtonEndpoint: ~Copyable {
    /// Proton's state of both sides, in bits.
    var state: pn_state_t { get }
}

extension ProtonEndpoint where Self: ~Copyable {
    /// Whether this side has not opened the object.
    @inline(__always) var isLocallyUnopened: Bool { self.state & PN_LOCAL_UNINIT != 0 }
    /// Whether this side has opened the object, and not closed it.
    @inline(__always) var isLocallyActive: Bool { self.state & PN_LOCAL_ACTIVE != 0 }
    @inline(__always) var isLocallyClosed: Bool { self.state & PN_LOCAL_CLOSED != 0 }
    /// Whether the peer has not opened the object.
    @inline(__always) var isRemotelyUnopened: Bool { self.state & PN_REMOTE_UNINIT != 0 }
    /// Whether the peer has opened the object, and not closed it.
    @inline(__always) var isRemotelyActive: Bool { self.state & PN_REMOTE_ACTIVE != 0 }
    @inline(__always) var isRemotelyClosed: Bool { self.state & PN_REMOTE_CLOSED != 0 }
}
