extension LinkEndpoint {
    /// The reports to which the link adds what it leaves unfinished.
    var reports: [CloseReport] {
        // Closes are rare, and so are links that end.
        self.allReports.filter(\.isOpen)
    }

    var allReports: [CloseReport] { [self.status.report, self.session.report, self.handler.report] }
}
