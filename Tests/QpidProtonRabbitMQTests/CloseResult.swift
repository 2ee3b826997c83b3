// SPDX-License-Identifier: Apache-2.0

import QpidProton

extension AMQPCloseResult {
    /// Throws the error that the close ended with.
    func check() throws(AMQPError) {
        if let error = self.error { throw error }
    }
}
