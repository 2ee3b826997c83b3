/// How a session or a connection ended: a failure for an end with an error, a description of an orderly end otherwise.
typealias EndReply = Reply<AMQPError>

extension Reply where Value == AMQPError {
    /// What ended it; `nil` while it is open.
    var cause: AMQPError? {
        switch self.answer {
        case nil: nil
        case .success(let cause), .failure(let cause): cause
        }
    }
}
