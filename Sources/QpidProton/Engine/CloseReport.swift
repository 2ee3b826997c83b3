/// Gathers what links leave unfinished while a close runs. Used on the event loop alone.
///
/// A link that ends adds itself to the reports of the link, of its session and of its connection.
final class CloseReport {
    /// A receiver that ended.
    struct Receiver: Sendable {
        let linkName: String
        let address: String?
        let settlements: UnsentSettlements
    }

    private var senders: [AMQPUnfinished] = []
    private var receivers: [Receiver] = []

    func add(_ sender: AMQPUnfinished) { self.senders.append(sender) }
    func add(_ receiver: Receiver) { self.receivers.append(receiver) }

    /// The result of the close.
    ///
    /// - Parameters:
    ///   - error: Why the close was not orderly. Without one the peer has answered, and so has read all decisions.
    ///   - handler: The connection; nil when its loop has nothing left to write.
    func result(_ error: AMQPError?, _ handler: ConnectionHandler?) -> AMQPCloseResult {
        let receivers = self.receivers.map { receiver in
            let rest = receiver.settlements.rest(
                isAnswered: error == nil,
                unwritten: handler?.unwritten(of: receiver.settlements) ?? 0
            )
            var unfinished = AMQPUnfinished(linkName: receiver.linkName, address: receiver.address)
            unfinished.decisionsNotWritten = rest.notWritten
            unfinished.decisionsInDoubt = rest.inDoubt
            unfinished.deliveriesNotSettled = rest.undecided
            return unfinished
        }
        return AMQPCloseResult(error: error, unfinished: self.senders + receivers)
    }
}

extension ConnectionHandler {
    /// The decisions about the messages of an ended receiver that are on their way to the socket still.
    func unwritten(of settlements: UnsentSettlements) -> Int {
        self.endingReceivers.first { $0.unsent === settlements }?.unwritten.left(self.writes) ?? 0
    }
}

extension [CloseReport] {
    /// Adds a report, or takes it out.
    mutating func keep(_ report: CloseReport, _ isOpen: Bool) {
        if isOpen { self.append(report) } else { self.removeAll { $0 === report } }
    }
}

extension LinkEndpoint {
    func keep(_ report: CloseReport, _ isOpen: Bool) { self.ownReports.keep(report, isOpen) }

    /// The closes that want to know what the link leaves unfinished.
    var reports: [CloseReport] {
        // Closes are rare, and so are links that end.
        self.ownReports + self.session.reports + self.handler.reports
    }
}
