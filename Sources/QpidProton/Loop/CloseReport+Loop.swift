// SPDX-License-Identifier: Apache-2.0

extension LinkEndpoint {
    /// The reports to which the link adds its unfinished work.
    var reports: [CloseReport] {
        // This array is built rarely: only when links close or end.
        self.allReports.filter(\.isOpen)
    }

    var allReports: [CloseReport] { [self.status.report, self.session.report, self.handler.report] }
}
