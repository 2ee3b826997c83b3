internal import Synchronization

/// Gathers what the links of a connection, of a session, or one link leave unfinished while closes of it run.
///
/// A link that ends adds itself on the loop. Every close of the same thing returns the same list.
final class CloseReport: Sendable {
    /// A receiver that ended.
    struct Receiver: Sendable {
        let linkName: String
        let address: String?
        let settlements: UnsentSettlements
    }

    private struct State: Sendable {
        /// The closes that run.
        var closes = 0
        var senders: [AMQPUnfinished] = []
        var receivers: [Receiver] = []
    }

    private let state = Mutex(State())

    /// Whether a close runs, so that links that end are to be added.
    var isOpen: Bool { self.state.withLock { $0.closes > 0 } }

    func begin() { self.state.withLock { $0.closes += 1 } }
    func end() { self.state.withLock { $0.closes -= 1 } }

    func add(_ sender: AMQPUnfinished) { self.state.withLock { $0.senders.append(sender) } }

    /// Adds a receiver, once.
    func add(_ receiver: Receiver) {
        self.state.withLock { state in
            guard !state.receivers.contains(where: { $0.settlements === receiver.settlements }) else { return }
            state.receivers.append(receiver)
        }
    }

    /// The result of a close.
    ///
    /// - Parameters:
    ///   - error: Why the close was not orderly. Without one the peer has answered, and so has read all decisions.
    ///   - handler: The connection; nil when its loop has nothing left to write.
    func result(_ error: AMQPError?, _ handler: ConnectionHandler?) -> AMQPCloseResult {
        let (senders, receivers) = self.state.withLock { ($0.senders, $0.receivers) }
        let unfinished = receivers.map { receiver in
            let rest = receiver.settlements.rest(
                isAnswered: error == nil,
                unwritten: handler?.unwritten(of: receiver.settlements) ?? 0
            )
            var unfinished = AMQPUnfinished(linkName: receiver.linkName, address: receiver.address)
            unfinished.settlementsNotWritten = rest.notWritten
            unfinished.settlementsInDoubt = rest.inDoubt
            unfinished.deliveriesNotSettled = rest.undecided
            return unfinished
        }
        return AMQPCloseResult(error: error, unfinished: senders + unfinished)
    }
}

extension ConnectionHandler {
    /// The decisions about the messages of an ended receiver that are on their way to the socket still.
    func unwritten(of settlements: UnsentSettlements) -> Int {
        self.endingReceivers.first { $0.unsent === settlements }?.unwritten.left(self.writes) ?? 0
    }
}

extension LinkEndpoint {
    /// The reports to which the link adds what it leaves unfinished.
    var reports: [CloseReport] {
        // Closes are rare, and so are links that end.
        [self.status.report, self.session.report, self.handler.report].filter(\.isOpen)
    }
}
