// SPDX-License-Identifier: Apache-2.0

/// The end of a session or a connection: a failure for an end with an error, otherwise a description.
typealias EndReply = Reply<AMQPError>

extension Reply where Value == AMQPError {
    /// The error that ended the session or connection; `nil` while it is open.
    var cause: AMQPError? {
        switch self.answer {
        case nil: nil
        case .success(let cause), .failure(let cause): cause
        }
    }
}
