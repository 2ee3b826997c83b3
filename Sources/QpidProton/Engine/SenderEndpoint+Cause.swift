internal import Synchronization

extension SenderEndpoint {
    /// Tells tasks what keeps the lane from moving, if that has changed: they must not need the loop to learn it.
    func noteCause() {
        guard let state = self.lane?.state else { return }
        let cause = state.cause
        self.note(state.isEmpty ? nil : cause.blockCause)
        guard cause != self.status.cause.load(ordering: .relaxed) else { return }
        self.status.cause.store(cause, ordering: .relaxed)
    }
}
