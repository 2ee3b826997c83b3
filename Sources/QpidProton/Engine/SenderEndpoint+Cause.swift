internal import Synchronization

extension SenderEndpoint {
    /// Tells tasks what keeps the lane from moving, if that has changed: they must not need the loop to learn it.
    func noteCause() {
        guard let cause = self.lane?.state.cause, cause != self.cause else { return }
        self.cause = cause
        self.status.cause.store(cause, ordering: .relaxed)
    }
}
