/// A session that only holds the lowest free channel number, so that Proton gives it to no other.
final class ProtonChannelHolder {
    private var session: ProtonSession

    /// Nil when Proton has no memory.
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
