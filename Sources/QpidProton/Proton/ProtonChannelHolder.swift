// SPDX-License-Identifier: Apache-2.0

/// A session that only occupies the lowest free channel number, so that Proton does not assign this number.
final class ProtonChannelHolder {
    private var session: ProtonSession

    /// Creates the session; `nil` if Proton has no memory.
    init?(_ engine: borrowing ProtonEngine) {
        guard let session = ProtonSession(of: engine) else { return nil }
        self.session = session
    }

    func begin() { self.session.begin() }

    /// Ends the session, and frees the number with the next output.
    func end() {
        self.session.end()
        self.session.free()
    }
}
