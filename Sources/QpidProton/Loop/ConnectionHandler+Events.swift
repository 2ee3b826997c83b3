// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

extension ConnectionHandler {
    /// Handles all events of Proton. Returns whether Proton may have new work.
    @discardableResult
    func processEvents() -> Bool {
        var wasAny = false
        while !self.isDead, let event = self.engine.nextEvent() {
            switch event {
            case .delivery(let delivery, let link):
                if let endpoint = LinkEndpoint.of(link) { endpoint.delivered(delivery) } else { link.dropAll() }
            case .linkFlow(let link):
                let isSender = link.isSender
                LinkEndpoint.of(link)?.flowed()
                // Proton reports each written transfer as a flow of the sender, which needs no further round.
                if isSender { continue }
            case .linkRemoteOpen(let link): PeerOpenings(handler: self).linkOpened(link)
            case .linkRemoteClose(let link): LinkEndpoint.of(link)?.remoteClosed(detach: false)
            case .linkRemoteDetach(let link): LinkEndpoint.of(link)?.remoteClosed(detach: true)
            case .sessionRemoteOpen(let session): PeerOpenings(handler: self).sessionOpened(session)
            case .sessionRemoteClose(let session): SessionEndpoint.of(session)?.remoteClosed()
            case .connectionRemoteOpen: PeerOpenings(handler: self).connectionOpened()
            case .connectionRemoteClose: self.remoteClosed()
            case .transportError:
                if let error = self.errors.transportError(of: self.engine) { self.end(error, error) }
            case .transportClosed: break
            }
            wasAny = true
        }
        self.ownedAnswers.report()
        guard !self.arrivedReceivers.isEmpty else { return wasAny }
        for receiver in self.arrivedReceivers { receiver.flushArrived() }
        self.arrivedReceivers.removeAll(keepingCapacity: true)
        return true
    }
}
