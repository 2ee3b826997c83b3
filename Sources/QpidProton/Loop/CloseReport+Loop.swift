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
        self.allReports.filter(\.isOpen)
    }

    var allReports: [CloseReport] { [self.status.report, self.session.report, self.handler.report] }
}
