// SPDX-License-Identifier: Apache-2.0

extension LinkEndpoint {
    /// The reports to which the link adds its unfinished work.
    var reports: [CloseReport] {
        // Closes are rare, and so are ended links.
        self.allReports.filter(\.isOpen)
    }

    var allReports: [CloseReport] { [self.status.report, self.session.report, self.handler.report] }
}
